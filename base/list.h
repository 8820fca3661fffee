// SPDX-License-Identifier: MIT
// Intrusive doubly linked list: insertion cannot fail and allocates nothing. A node is in at most
// one list per link; the owner of the list guards it.
#pragma once

#include <cstddef>

namespace base {

template <class T>
struct ListLink {
  T* next = nullptr;
  T* prev = nullptr;
  bool linked = false;
};

template <class T, ListLink<T> T::* Link>
class List {
 public:
  bool empty() const { return head_ == nullptr; }
  size_t size() const { return size_; }
  T* front() const { return head_; }
  T* back() const { return tail_; }
  static T* next(const T* node) { return (node->*Link).next; }
  static bool contains(const T* node) { return (node->*Link).linked; }

  void push_back(T* node) { insert_before(nullptr, node); }
  void push_front(T* node) { insert_before(head_, node); }

  // Inserts before `position`; nullptr appends.
  void insert_before(T* position, T* node) {
    ListLink<T>& link = node->*Link;
    link.next = position;
    link.prev = position ? (position->*Link).prev : tail_;
    link.linked = true;
    (link.prev ? (link.prev->*Link).next : head_) = node;
    (position ? (position->*Link).prev : tail_) = node;
    ++size_;
  }

  void remove(T* node) {
    ListLink<T>& link = node->*Link;
    (link.prev ? (link.prev->*Link).next : head_) = link.next;
    (link.next ? (link.next->*Link).prev : tail_) = link.prev;
    link = {};
    --size_;
  }

  T* pop_front() {
    T* node = head_;
    if (node) remove(node);
    return node;
  }

 private:
  T* head_ = nullptr;
  T* tail_ = nullptr;
  size_t size_ = 0;
};

}  // namespace base

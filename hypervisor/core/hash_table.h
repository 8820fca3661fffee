// SPDX-License-Identifier: MIT
// Intrusive hash table with a fixed number of buckets. A node has `Node* next` and `key()`, a
// number; nodes of one key are found in no particular order. The owner guards it.
#pragma once

#include <array>
#include <cstdint>

namespace hv {

template <class Node, unsigned Buckets>
class HashTable {
 public:
  // The first node of `key` after `after`; nullptr at the end.
  Node* find(uint32_t key, const Node* after = nullptr) const {
    Node* node = after ? after->next : buckets_[key % Buckets];
    while (node && node->key() != key) node = node->next;
    return node;
  }
  void insert(Node* node) {
    Node*& head = buckets_[node->key() % Buckets];
    node->next = head;
    head = node;
  }
  void remove(Node* node) {
    Node** at = &buckets_[node->key() % Buckets];
    while (*at != node) at = &(*at)->next;
    *at = node->next;
  }
  // Takes any node out; nullptr when empty.
  Node* pop() {
    for (Node*& head : buckets_) {
      if (!head) continue;
      Node* const node = head;
      head = node->next;
      return node;
    }
    return nullptr;
  }

 private:
  std::array<Node*, Buckets> buckets_{};
};

}  // namespace hv

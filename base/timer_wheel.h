// SPDX-License-Identifier: MIT
// Hierarchical timer wheel: arm and cancel in constant time, no allocation, one owner, ticks of any
// unit. Level n has 256 slots of 256^n ticks; a timer sits where its expiry first differs from
// now_, so within a level slots lie ahead in order, and the lowest occupied slot of the lowest
// occupied level comes first. now_ never enters an occupied slot before that slot is opened and its
// timers go to lower levels. A timer never expires early; expiries come in order.
#pragma once

#include <cstddef>
#include <cstdint>

namespace base {

struct WheelLink {
  WheelLink* next = nullptr;
  WheelLink* prev = nullptr;
};

/// What a TimerWheel keeps of a timer: embedded in, or a base of, what waits. It stays in place
/// while armed.
class WheelTimer : private WheelLink {
 public:
  WheelTimer() = default;
  WheelTimer(const WheelTimer&) = delete;
  WheelTimer& operator=(const WheelTimer&) = delete;

  bool armed() const { return next != nullptr; }
  /// The tick it was last armed for, which the tolerance may have moved behind the deadline.
  uint64_t expiry() const { return expiry_; }

 private:
  friend class TimerWheel;
  uint64_t expiry_ = 0;
};

class TimerWheel {
 public:
  static constexpr uint64_t kNever = ~uint64_t{0};

  explicit TimerWheel(uint64_t now = 0) : now_(now) {
    for (WheelLink& head : heads_) head = {&head, &head};
    for (uint64_t& earliest : earliest_) earliest = kNever;
  }
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;

  /// Expires the timer at the roundest tick of [deadline, deadline + tolerance], so that timers
  /// with tolerance share ticks and skip levels. An armed timer is moved; towards later, that
  /// writes to the timer alone, and its old slot takes it further when it is opened.
  void arm(WheelTimer& timer, uint64_t deadline, uint64_t tolerance = 0) {
    const uint64_t expiry = coalesce(deadline, tolerance);
    if (timer.armed()) {
      if (expiry >= timer.expiry_ && timer.expiry_ > now_) {
        timer.expiry_ = expiry;
        return;
      }
      unlink(timer);
    }
    timer.expiry_ = expiry;
    place(timer);
  }

  /// False: it was not armed.
  bool cancel(WheelTimer& timer) {
    if (!timer.armed()) return false;
    unlink(timer);
    return true;
  }

  /// When advance() must be called, or kNever: exact, but for cancelled or postponed timers, whose
  /// old expiry may still be named.
  uint64_t next_expiry() const {
    if (occupied_[kQueues] != 0) return now_;
    return words_ == 0 ? kNever : earliest_[first_slot()];
  }

  bool empty() const { return words_ == 0 && occupied_[kQueues] == 0; }

  /// Calls expired(WheelTimer&) for each timer due at `now`, disarmed before its call; calls may
  /// arm and cancel any timer. What they arm for `now` or before waits for the next advance(), so
  /// that a timer that always re-arms itself cannot keep the owner here. Returns the number of
  /// calls.
  template <class Expired>
  size_t advance(uint64_t now, Expired&& expired) {
    open_slots(now);
    splice(kDue, kFiring);
    size_t count = 0;
    while (firing()) {
      WheelTimer& timer = first_firing();
      unlink(timer);
      ++count;
      expired(timer);
    }
    return count;
  }

  /// Disarms every timer and hands it to taken(WheelTimer&), which may arm it again. `now` may lie
  /// before every earlier one: this is how a wheel follows a clock that was set back.
  template <class Taken>
  void restart(uint64_t now, Taken&& taken) {
    for (unsigned list = 0; list < kFiring; ++list) splice(list, kFiring);
    now_ = now;
    while (firing()) {
      WheelTimer& timer = first_firing();
      unlink(timer);
      taken(timer);
    }
  }

 private:
  // Wide levels, so that a timer moves seldom: moving is what costs when there are many, each in a
  // cache line that nobody has seen for a while.
  static constexpr unsigned kSlotBits = 8;
  static constexpr unsigned kSlotMask = (1u << kSlotBits) - 1;
  static constexpr unsigned kLevels = (64 + kSlotBits - 1) / kSlotBits;
  static constexpr unsigned kSlots = kLevels << kSlotBits;
  // Two lists beside the levels, in a word of their own: what is due, and what advance() calls.
  static constexpr unsigned kWordBits = 6;
  static constexpr unsigned kWordMask = (1u << kWordBits) - 1;
  static constexpr unsigned kQueues = kSlots >> kWordBits;
  static constexpr unsigned kDue = kSlots;
  static constexpr unsigned kFiring = kSlots + 1;
  static constexpr unsigned kLists = kSlots + 2;

  /// The value of [deadline, deadline + tolerance] with the most trailing zeros.
  static constexpr uint64_t coalesce(uint64_t deadline, uint64_t tolerance) {
    if (deadline == 0) return 0;
    const uint64_t last = deadline > kNever - tolerance ? kNever : deadline + tolerance;
    const unsigned bit = 63 - static_cast<unsigned>(__builtin_clzll((deadline - 1) ^ last));
    return last >> bit << bit;
  }

  unsigned first_slot() const {
    const auto word = static_cast<unsigned>(__builtin_ctzll(words_));
    return word << kWordBits | static_cast<unsigned>(__builtin_ctzll(occupied_[word]));
  }

  bool firing() const { return heads_[kFiring].next != &heads_[kFiring]; }
  WheelTimer& first_firing() { return static_cast<WheelTimer&>(*heads_[kFiring].next); }

  uint64_t start_of(unsigned list) const {
    const unsigned shift = (list >> kSlotBits) * kSlotBits;
    return ((now_ >> shift & ~uint64_t{kSlotMask}) | (list & kSlotMask)) << shift;
  }

  void place(WheelTimer& timer) {
    unsigned list = kDue;
    if (timer.expiry_ > now_) {
      const auto differs = 63 - static_cast<unsigned>(__builtin_clzll(timer.expiry_ ^ now_));
      const unsigned level = differs / kSlotBits;
      list = level << kSlotBits | (timer.expiry_ >> (level * kSlotBits) & kSlotMask);
      if (timer.expiry_ < earliest_[list]) earliest_[list] = timer.expiry_;
    }
    WheelLink& head = heads_[list];
    timer.next = &head;
    timer.prev = head.prev;
    head.prev->next = &timer;
    head.prev = &timer;
    occupy(list);
  }

  void unlink(WheelTimer& timer) {
    WheelLink* const before = timer.prev;
    before->next = timer.next;
    timer.next->prev = before;
    timer.next = timer.prev = nullptr;
    // Only a head can be its own neighbour.
    if (before->next == before) vacate(static_cast<unsigned>(before - heads_));
  }

  void occupy(unsigned list) {
    const unsigned word = list >> kWordBits;
    occupied_[word] |= uint64_t{1} << (list & kWordMask);
    if (word != kQueues) words_ |= uint64_t{1} << word;
  }

  void vacate(unsigned list) {
    const unsigned word = list >> kWordBits;
    occupied_[word] &= ~(uint64_t{1} << (list & kWordMask));
    if (word == kQueues) return;
    earliest_[list] = kNever;
    if (occupied_[word] == 0) words_ &= ~(uint64_t{1} << word);
  }

  /// Moves a whole list behind `target`'s last.
  void append_all(WheelLink& target, unsigned list) {
    WheelLink& head = heads_[list];
    if (head.next == &head) return;
    head.next->prev = target.prev;
    target.prev->next = head.next;
    head.prev->next = &target;
    target.prev = head.prev;
    head = {&head, &head};
    vacate(list);
  }

  void splice(unsigned from, unsigned to) {
    if (heads_[from].next == &heads_[from]) return;
    append_all(heads_[to], from);
    occupy(to);
  }

  /// Opens every slot that may hold a timer due at `now`, then goes as close to `now` as the next
  /// occupied slot allows.
  void open_slots(uint64_t now) {
    while (words_ != 0) {
      const unsigned list = first_slot();
      if (earliest_[list] > now) {
        const uint64_t limit = start_of(list) - 1;
        if (now > now_) now_ = now < limit ? now : limit;
        return;
      }
      now_ = earliest_[list];
      WheelLink opened{&opened, &opened};
      append_all(opened, list);
      // The way back, in step with the way there, only fetches: two chains of misses side by side
      // take half the time. Beyond the middle it wanders off into other lists, which is harmless.
      const WheelLink* back = opened.prev;
      for (WheelLink* link = opened.next; link != &opened;) {
        auto& timer = static_cast<WheelTimer&>(*link);
        link = link->next;
        __builtin_prefetch(link);
        __builtin_prefetch(back = back->prev);
        place(timer);
      }
    }
    if (now > now_) now_ = now;
  }

  // Every timer expires after now_, but for those in the queues.
  uint64_t now_;
  uint64_t words_ = 0;                   // bit n: word n of the levels' is not zero
  uint64_t occupied_[kQueues + 1] = {};  // a bit for each list
  uint64_t earliest_[kSlots];            // no timer of the slot expires before this
  WheelLink heads_[kLists];
};

}  // namespace base

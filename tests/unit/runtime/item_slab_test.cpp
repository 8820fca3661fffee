// SPDX-License-Identifier: MIT
#include "runtime/item_slab.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <set>
#include <thread>
#include <vector>

namespace runtime {
namespace {

template <size_t kBytes>
struct Block {
  std::array<unsigned char, kBytes> bytes;

  static Block& make(unsigned value) {
    auto* const block = static_cast<Block*>(allocate_block<Block>());
    block->bytes.fill(static_cast<unsigned char>(value));
    return *block;
  }
  bool is(unsigned value) const {
    for (const unsigned char byte : bytes)
      if (byte != static_cast<unsigned char>(value)) return false;
    return true;
  }
};

using Small = Block<24>;
using Large = Block<kLargestBlock>;

const void* page_of(const void* block) {
  return slab::slab_of(const_cast<void*>(block));
}

TEST(ItemSlabTest, BlocksOfAllSizesKeepWhatIsWrittenToThem) {
  struct Pair {
    Small* small;
    Large* large;
  };
  std::vector<Pair> pairs;
  pairs.reserve(1000);
  for (unsigned i = 0; i < 1000; ++i) pairs.push_back({&Small::make(i), &Large::make(i + 1)});
  for (unsigned i = 0; i < 1000; ++i) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(pairs[i].small) % kBlockAlignment, 0u);
    EXPECT_TRUE(pairs[i].small->is(i));
    EXPECT_TRUE(pairs[i].large->is(i + 1));
    free_block<Small>(pairs[i].small);
    free_block<Large>(pairs[i].large);
  }
}

#if !defined(RT_PLAIN_BLOCKS)

// Half a million blocks go from one thread to another, and one stays all the time.
TEST(ItemSlabTest, WhatAnotherThreadFreesIsUsedAgain) {
  Small& stays = Small::make(77);
  std::set<const void*> pages;
  for (unsigned round = 0; round < 500; ++round) {
    std::vector<Small*> blocks;
    blocks.reserve(1000);
    for (unsigned i = 0; i < 1000; ++i) blocks.push_back(&Small::make(i));
    for (const Small* const block : blocks) pages.insert(page_of(block));
    std::thread([&] {
      for (unsigned i = 0; i < 1000; ++i) {
        EXPECT_TRUE(blocks[i]->is(i));
        free_block<Small>(blocks[i]);
      }
    }).join();
    EXPECT_TRUE(stays.is(77));
  }
  EXPECT_LE(pages.size(), 32u);  // a round needs eight
  free_block<Small>(&stays);
}

TEST(ItemSlabTest, AThreadLeavesNothingBehind) {
  std::set<const void*> pages;
  for (unsigned round = 0; round < 500; ++round) {
    std::thread([&] {
      Small& block = Small::make(round);
      pages.insert(page_of(&block));
      free_block<Small>(&block);
    }).join();
  }
  EXPECT_LE(pages.size(), 4u);
}

// Freed while its slab is still cut from, and after; the count comes to zero once.
TEST(ItemSlabTest, TheOrderOfFreeingDoesNotMatter) {
  std::set<const void*> pages;
  std::vector<Small*> kept;
  for (unsigned i = 0; i < 100'000; ++i) {
    Small& block = Small::make(i);
    pages.insert(page_of(&block));
    if (i % 2 == 0) {
      free_block<Small>(&block);
      continue;
    }
    kept.push_back(&block);
    if (kept.size() < 300) continue;
    const size_t at = i * 7919u % kept.size();
    free_block<Small>(kept[at]);
    kept[at] = kept.back();
    kept.pop_back();
  }
  for (Small* const block : kept) free_block<Small>(block);
  EXPECT_LE(pages.size(), 700u);  // 300 that stay for long may hold a page each
}

#endif

}  // namespace
}  // namespace runtime

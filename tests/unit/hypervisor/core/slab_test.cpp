// SPDX-License-Identifier: MIT
#include "hypervisor/core/slab.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/fake/environment.h"

namespace hv {
namespace {

struct Node {
  uint64_t words[5];
};

TEST(Slab, ReturnsEveryPageWithItsLastObject) {
  fake::Environment environment;
  PagePool& pool = environment.root().pool;
  const uint64_t before = pool.free_pages();
  Slab<Node> slab;
  std::set<Node*> nodes;
  constexpr int kCount = 300;  // more than three pages hold
  for (int i = 0; i < kCount; ++i) {
    auto node = slab.create(pool);
    ASSERT_TRUE(node);
    EXPECT_TRUE(nodes.insert(*node).second);
    for (uint64_t word : (*node)->words) EXPECT_EQ(word, 0u);
    (*node)->words[0] = (*node)->words[4] = ~uint64_t{0};
  }
  EXPECT_LT(pool.free_pages(), before - 2);
  for (Node* node : nodes) slab.destroy(pool, node);
  EXPECT_EQ(pool.free_pages(), before);
}

TEST(Slab, ReusesWhatWasFreedAndZeroesIt) {
  fake::Environment environment;
  PagePool& pool = environment.root().pool;
  Slab<Node> slab;
  Node* const keeper = *slab.create(pool);
  const uint64_t before = pool.free_pages();
  for (int i = 0; i < 1000; ++i) {
    Node* const node = *slab.create(pool);
    for (uint64_t word : node->words) ASSERT_EQ(word, 0u);
    node->words[0] = 7;
    slab.destroy(pool, node);
  }
  EXPECT_EQ(pool.free_pages(), before);
  slab.destroy(pool, keeper);
  EXPECT_EQ(pool.free_pages(), before + 1);
}

TEST(Slab, AnEmptyPoolIsAnAnswer) {
  fake::Environment environment;
  PagePool pool;
  Slab<Node> slab;
  const auto node = slab.create(pool);
  ASSERT_FALSE(node);
  EXPECT_EQ(node.error(), Error::insufficient_memory);
}

}  // namespace
}  // namespace hv

// SPDX-License-Identifier: MIT
// Entries and what becomes of those that are given up.
#include "hypervisor/arch/x86/cpu.h"
#include "tests/unit/hypervisor/arch/x86/svm/exit_fixture.h"

namespace hv::svm {
namespace {

using x86::PendingEvent;

class EnterTest : public ExitTest {
 protected:
  EnterTest() {
    // Runs until an interrupt.
    environment.guest = [this](Vmcb& vmcb) {
      ++entries;
      flushed = vmcb.tlb_control == TlbControl::flush_all;
      vmcb.exit_code = static_cast<uint64_t>(Exit::interrupt);
      vmcb.exit_interrupt_info = 0;
    };
  }
  void run() { enter(environment.lp(0), asids, Spa(), vp); }

  Asids asids;
  unsigned entries = 0;
  bool flushed = false;
};

TEST_F(EnterTest, AFlushIsDoneOnceAndNotLost) {
  Lp& lp = environment.lp(0);
  run();
  EXPECT_FALSE(flushed);
  lp.flush_tlb = true;
  lp.reschedule = true;  // somebody else's turn: the entry is given up
  run();
  EXPECT_EQ(entries, 1u);
  EXPECT_TRUE(lp.flush_tlb.load()) << "the next entry, of whichever VP, has to flush";
  lp.reschedule = false;
  run();
  EXPECT_EQ(entries, 2u);
  EXPECT_TRUE(flushed);
  run();
  EXPECT_FALSE(flushed);
}

TEST_F(EnterTest, TagsThatRunOutAreFlushed) {
  const uint32_t count = cpu::cpuid(0x8000000a, 0).ebx;
  ASSERT_GT(count, 1u);
  for (uint32_t tag = 1; tag < count; ++tag) {
    vp.asid_lp = nullptr;  // as another VP would
    run();
    ASSERT_EQ(v.asid, tag);
    ASSERT_FALSE(flushed);
  }
  vp.asid_lp = nullptr;
  run();
  EXPECT_EQ(v.asid, 1u);
  EXPECT_TRUE(flushed);
}

TEST_F(EnterTest, AnEventSurvivesAnEntryThatIsGivenUp) {
  vp.event = PendingEvent::exception(13, 8);
  environment.lp(0).reschedule = true;
  run();
  EXPECT_EQ(entries, 0u);
  EXPECT_EQ(injected(), 13u);
}

// Nothing stays requested after the requests were processed, or the VP would never enter.
TEST_F(EnterTest, AnExternalInterruptIsOfferedUntilTheGuestTakesIt) {
  vp.extint_vector = 0x38;
  post_request(vp, VpRequest::extint);
  ASSERT_TRUE(process_requests(vp));
  EXPECT_EQ(vp.requests.load(), 0u);
  run();
  EXPECT_EQ(entries, 1u);
  EXPECT_TRUE(vp.extint_pending) << "the guest did not take it";
  environment.guest = [&](Vmcb& vmcb) {
    EXPECT_TRUE(VirtualInterrupt::Irq::test(vmcb.virtual_interrupt));
    EXPECT_EQ(VirtualInterrupt::Vector::get(vmcb.virtual_interrupt), 0x38u);
    vmcb.virtual_interrupt = VirtualInterrupt::Irq::set(vmcb.virtual_interrupt, 0);
    vmcb.exit_code = static_cast<uint64_t>(Exit::interrupt);
  };
  run();
  EXPECT_FALSE(vp.extint_pending);
}

class OfferTest : public EnterTest {
 protected:
  OfferTest() {
    vp.apic.power_on(x86::LocalApic::Mode::x2apic, true);
    EXPECT_TRUE(vp.apic.write_msr(0x80f, 0x1ff));
    v.rflags |= x86::rflags::kIf;
    arch::raise_interrupt(vp, 0x61);
    EXPECT_TRUE(process_requests(vp));
  }
  bool requested() const { return vp.apic.highest_requested() == 0x61; }
  bool in_service() const { return vp.apic.peek(x86::apic_register::kIsr + 0x61 / 32) != 0; }
};

TEST_F(OfferTest, ATakenInterruptIsInService) {
  environment.guest = [](Vmcb& vmcb) {
    vmcb.virtual_interrupt = VirtualInterrupt::Irq::set(vmcb.virtual_interrupt, 0);
    vmcb.exit_code = static_cast<uint64_t>(Exit::interrupt);
  };
  run();
  EXPECT_TRUE(in_service());
  EXPECT_FALSE(requested());
}

TEST_F(OfferTest, OneThatWasNotTakenStaysRequested) {
  run();
  EXPECT_FALSE(in_service());
  EXPECT_TRUE(requested());
}

// Pushing its frame faulted. The processor may or may not have taken the offer back by then.
TEST_F(OfferTest, OneWhoseDeliveryWasInterruptedIsOfferedAgain) {
  for (const uint64_t still_offered : {0, 1}) {
    environment.guest = [&](Vmcb& vmcb) {
      vmcb.virtual_interrupt = VirtualInterrupt::Irq::set(vmcb.virtual_interrupt, still_offered);
      vmcb.exit_code = static_cast<uint64_t>(Exit::interrupt);
      vmcb.exit_interrupt_info = PendingEvent::Valid::set(0x61, 1);
    };
    run();
    EXPECT_TRUE(requested());
    EXPECT_FALSE(in_service());
    EXPECT_FALSE(vp.event.valid());
  }
}

TEST_F(EnterTest, AnExceptionWhoseDeliveryWasInterruptedComesAgain) {
  vp.event = PendingEvent::exception(6);
  environment.guest = [](Vmcb& vmcb) {
    vmcb.exit_code = static_cast<uint64_t>(Exit::interrupt);
    vmcb.exit_interrupt_info = vmcb.event_injection;
  };
  run();
  EXPECT_EQ(injected(), 6u);
}

}  // namespace
}  // namespace hv::svm

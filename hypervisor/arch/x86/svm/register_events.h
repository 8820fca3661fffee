// SPDX-License-Identifier: MIT
// The registers that say whether a VP runs and what it takes next [TLFS 7.9]; rows of the table in
// registers.cpp. A setter that fails changes nothing.
#pragma once

#include "abi/tlfs/registers.h"
#include "hypervisor/arch/x86/svm/svm.h"

namespace hv::svm {

// A register of up to 128 bits without parts.
inline abi::HvRegisterValue word(uint64_t low, uint64_t high = 0) {
  abi::HvRegisterValue value{};
  value.reg128 = {low, high};
  return value;
}

// Explicit and intercept suspension; clearing the last of them lets the VP run, if VMRUN would
// accept its registers. Errors: retry (it has to leave its LP first), invalid_register_value.
// register_page.cpp: takes what the parent changed in the register page, before the VP is let go.
// Error: retry, and those of set_register().
Result<> adopt_registers(Vcpu& vcpu);

Result<abi::HvRegisterValue> get_suspend(Vcpu& vcpu, VpSuspend bit);
Result<> set_suspend(Vcpu& vcpu, VpSuspend bit, const abi::HvRegisterValue& value);

// Errors of the setters: invalid_register_value; feature_unavailable (a notification that is not
// offered). The index counts registers in a row of the table, here always 0.
Result<abi::HvRegisterValue> get_activity(Vcpu& vcpu, uint32_t);
Result<> set_activity(Vcpu& vcpu, uint32_t, const abi::HvRegisterValue& value);
Result<abi::HvRegisterValue> get_pending_interruption(Vcpu& vcpu, uint32_t);
Result<> set_pending_interruption(Vcpu& vcpu, uint32_t, const abi::HvRegisterValue& value);
Result<abi::HvRegisterValue> get_interrupt_state(Vcpu& vcpu, uint32_t);
Result<> set_interrupt_state(Vcpu& vcpu, uint32_t, const abi::HvRegisterValue& value);
Result<abi::HvRegisterValue> get_pending_event(Vcpu& vcpu, uint32_t);
Result<> set_pending_event(Vcpu& vcpu, uint32_t, const abi::HvRegisterValue& value);
Result<abi::HvRegisterValue> get_notifications(Vcpu& vcpu, uint32_t);
Result<> set_notifications(Vcpu& vcpu, uint32_t, const abi::HvRegisterValue& value);

}  // namespace hv::svm

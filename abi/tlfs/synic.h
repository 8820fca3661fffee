// SPDX-License-Identifier: MIT
// Pages the hypervisor and a VP share: SynIC messages, event flags, event rings, the VP assist page
// and the reference TSC page. [TLFS 11, 12; Linux hvhdk.h, hvgdk_mini.h] The registers that place
// them, and the SINT and STIMER fields, are in msr.h. The guest writes these pages at any time:
// copy before checking.
#pragma once

#include "abi/tlfs/layout.h"
#include "abi/tlfs/message.h"

namespace hv::abi {

inline constexpr unsigned kHvSynicSintCount = 16;
inline constexpr unsigned kHvSynicStimerCount = 4;
inline constexpr unsigned kHvSynicInterceptionSintIndex = 0;
inline constexpr unsigned kHvSynicFirstUnusedSintIndex = 5;

// SIM page: one message slot a SINT.
struct HvMessagePage {
  HvMessage sint_message[kHvSynicSintCount];
};
HV_ABI_STRUCT(HvMessagePage, 0x1000);
HV_ABI_AT(HvMessagePage, sint_message, 0x0);

inline constexpr unsigned kHvEventFlagsCount = 2048;  // a SINT

// One SINT's flags: flag n is bit n % 64 of word n / 64.
struct HvSynicEventFlags {
  uint64_t flags[kHvEventFlagsCount / 64];
};
HV_ABI_STRUCT(HvSynicEventFlags, 0x100);
HV_ABI_AT(HvSynicEventFlags, flags, 0x0);

// SIEF page
struct HvSynicEventFlagsPage {
  HvSynicEventFlags event_flags[kHvSynicSintCount];
};
HV_ABI_STRUCT(HvSynicEventFlagsPage, 0x1000);
HV_ABI_AT(HvSynicEventFlagsPage, event_flags, 0x0);

inline constexpr unsigned kHvSynicEventRingMessageCount = 63;

// One SINT's ring of port ids. 0 is a free entry; the consumer frees by writing 0 and keeps its own
// tail. ring_full: entries were lost, call HvCallNotifyPortRingEmpty once drained.
struct HvSynicEventRing {
  uint8_t signal_masked;
  uint8_t ring_full;
  uint16_t reserved;
  uint32_t data[kHvSynicEventRingMessageCount];
};
HV_ABI_STRUCT(HvSynicEventRing, 0x100);
HV_ABI_AT(HvSynicEventRing, signal_masked, 0x0);
HV_ABI_AT(HvSynicEventRing, ring_full, 0x1);
HV_ABI_AT(HvSynicEventRing, reserved, 0x2);
HV_ABI_AT(HvSynicEventRing, data, 0x4);

struct HvSynicEventRingPage {
  HvSynicEventRing sint_event_ring[kHvSynicSintCount];
};
HV_ABI_STRUCT(HvSynicEventRingPage, 0x1000);
HV_ABI_AT(HvSynicEventRingPage, sint_event_ring, 0x0);

// apic_assist: the guest clears bit 0 atomically and, if it was set, skips its EOI.
inline constexpr unsigned kHvApicAssistNoEoiRequiredBit = 0;

// HV_VP_ASSIST_PAGE. The tail up to the page's end is reserved.
struct HvVpAssistPage {
  uint32_t apic_assist;
  uint32_t reserved1;
  uint32_t vtl_entry_reason;
  uint32_t vtl_reserved;
  uint64_t vtl_ret_x64rax;
  uint64_t vtl_ret_x64rcx;
  uint32_t nested_features;
  uint32_t nested_hypercall_controls;
  uint8_t enlighten_vmentry;
  uint8_t reserved2[7];
  uint64_t current_nested_vmcs;
  uint8_t synthetic_time_unhalted_timer_expired;
  uint8_t reserved3[7];
  uint8_t virtualization_fault_information[40];
  uint8_t reserved4[8];
  HvMessage intercept_message;
  uint8_t vtl_ret_actions[256];
  uint8_t reserved5[3472];
};
HV_ABI_STRUCT(HvVpAssistPage, 0x1000);
HV_ABI_AT(HvVpAssistPage, apic_assist, 0x0);
HV_ABI_AT(HvVpAssistPage, reserved1, 0x4);
HV_ABI_AT(HvVpAssistPage, vtl_entry_reason, 0x8);
HV_ABI_AT(HvVpAssistPage, vtl_reserved, 0xc);
HV_ABI_AT(HvVpAssistPage, vtl_ret_x64rax, 0x10);
HV_ABI_AT(HvVpAssistPage, vtl_ret_x64rcx, 0x18);
HV_ABI_AT(HvVpAssistPage, nested_features, 0x20);
HV_ABI_AT(HvVpAssistPage, nested_hypercall_controls, 0x24);
HV_ABI_AT(HvVpAssistPage, enlighten_vmentry, 0x28);
HV_ABI_AT(HvVpAssistPage, reserved2, 0x29);
HV_ABI_AT(HvVpAssistPage, current_nested_vmcs, 0x30);
HV_ABI_AT(HvVpAssistPage, synthetic_time_unhalted_timer_expired, 0x38);
HV_ABI_AT(HvVpAssistPage, reserved3, 0x39);
HV_ABI_AT(HvVpAssistPage, virtualization_fault_information, 0x40);
HV_ABI_AT(HvVpAssistPage, reserved4, 0x68);
HV_ABI_AT(HvVpAssistPage, intercept_message, 0x70);
HV_ABI_AT(HvVpAssistPage, vtl_ret_actions, 0x170);
HV_ABI_AT(HvVpAssistPage, reserved5, 0x270);

// HV_REFERENCE_TSC_PAGE: reference time in 100 ns = ((tsc * tsc_scale) >> 64) + tsc_offset,
// provided tsc_sequence is not 0 and the same before and after. Linux guests map the page into user
// space.
struct HvReferenceTscPage {
  uint32_t tsc_sequence;
  uint32_t reserved1;
  uint64_t tsc_scale;
  int64_t tsc_offset;
  uint64_t timeline_bias;
  uint64_t tsc_multiplier;
  uint64_t reserved2[507];
};
HV_ABI_STRUCT(HvReferenceTscPage, 0x1000);
HV_ABI_AT(HvReferenceTscPage, tsc_sequence, 0x0);
HV_ABI_AT(HvReferenceTscPage, reserved1, 0x4);
HV_ABI_AT(HvReferenceTscPage, tsc_scale, 0x8);
HV_ABI_AT(HvReferenceTscPage, tsc_offset, 0x10);
HV_ABI_AT(HvReferenceTscPage, timeline_bias, 0x18);
HV_ABI_AT(HvReferenceTscPage, tsc_multiplier, 0x20);
HV_ABI_AT(HvReferenceTscPage, reserved2, 0x28);

}  // namespace hv::abi

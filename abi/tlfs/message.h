// SPDX-License-Identifier: MIT
// SynIC messages: the 256-byte slot, its types, and the payloads the hypervisor writes. [TLFS 11,
// HV_MESSAGE; hvdef; Linux hvgdk_mini.h, hvhdk.h] The payload starts at 0x10 of the message;
// offsets below count from the payload. Registers in a payload are the VP's at the intercept.
#pragma once

#include "abi/tlfs/layout.h"
#include "abi/tlfs/registers.h"

namespace hv::abi {

enum class HvMessageType : uint32_t {
  HvMessageTypeNone = 0x00000000,  // the slot is free

  HvMessageTypeUnmappedGpa = 0x80000000,
  HvMessageTypeGpaIntercept = 0x80000001,

  HvMessageTypeTimerExpired = 0x80000010,

  HvMessageTypeInvalidVpRegisterValue = 0x80000020,
  HvMessageTypeUnrecoverableException = 0x80000021,
  HvMessageTypeUnsupportedFeature = 0x80000022,
  HvMessageTypeOpaqueIntercept = 0x8000003f,  // the message itself is in the VP's message page
  HvMessageTypeHypercallIntercept = 0x80000050,
  HvMessageTypeSynicSintIntercept = 0x80000061,
  HvMessageTypeSynicSintDeliverable = 0x80000062,

  HvMessageTypeX64IoPortIntercept = 0x80010000,
  HvMessageTypeX64MsrIntercept = 0x80010001,
  HvMessageTypeX64CpuidIntercept = 0x80010002,
  HvMessageTypeX64ExceptionIntercept = 0x80010003,
  HvMessageTypeX64ApicEoi = 0x80010004,
  HvMessageTypeX64Halt = 0x80010007,
  HvMessageTypeX64InterruptionDeliverable = 0x80010008,
};

// A type with this bit is the hypervisor's own: HvCallPostMessage refuses it.
inline constexpr uint32_t kHvMessageTypeHypervisorMask = 0x80000000;

inline constexpr unsigned kHvMessageSize = 256;
inline constexpr unsigned kHvMessagePayloadSize = 240;
inline constexpr unsigned kHvMessagePendingBit = 0;  // flags: more is queued, write EOM

// HV_MESSAGE_HEADER. `sender` is the sending partition's id, or the port's id (24 bits).
struct HvMessageHeader {
  HvMessageType message_type;
  uint8_t payload_size;
  uint8_t message_flags;
  uint16_t reserved;
  uint64_t sender;
};
HV_ABI_STRUCT(HvMessageHeader, 0x10);
HV_ABI_AT(HvMessageHeader, message_type, 0x0);
HV_ABI_AT(HvMessageHeader, payload_size, 0x4);
HV_ABI_AT(HvMessageHeader, message_flags, 0x5);
HV_ABI_AT(HvMessageHeader, reserved, 0x6);
HV_ABI_AT(HvMessageHeader, sender, 0x8);

// HV_MESSAGE
struct HvMessage {
  HvMessageHeader header;
  uint8_t payload[kHvMessagePayloadSize];
};
HV_ABI_STRUCT(HvMessage, 0x100);
HV_ABI_AT(HvMessage, header, 0x0);
HV_ABI_AT(HvMessage, payload, 0x10);

// HV_TIMER_MESSAGE_PAYLOAD. Times in 100 ns of the partition's reference time.
struct HvTimerMessagePayload {
  uint32_t timer_index;
  uint32_t reserved;
  uint64_t expiration_time;
  uint64_t delivery_time;
};
HV_ABI_STRUCT(HvTimerMessagePayload, 0x18);
HV_ABI_AT(HvTimerMessagePayload, timer_index, 0x0);
HV_ABI_AT(HvTimerMessagePayload, reserved, 0x4);
HV_ABI_AT(HvTimerMessagePayload, expiration_time, 0x8);
HV_ABI_AT(HvTimerMessagePayload, delivery_time, 0x10);

// HvMessageTypeOpaqueIntercept; header.sender is the partition. [Linux hvhdk.h]
struct HvOpaqueInterceptMessage {
  uint32_t vp_index;
};
HV_ABI_STRUCT(HvOpaqueInterceptMessage, 0x4);
HV_ABI_AT(HvOpaqueInterceptMessage, vp_index, 0x0);

// HvMessageTypeSynicSintIntercept: an as_intercept SINT (doorbells) was signalled. [Linux]
struct HvNotificationMessagePayload {
  uint32_t sint_index;
};
HV_ABI_STRUCT(HvNotificationMessagePayload, 0x4);
HV_ABI_AT(HvNotificationMessagePayload, sint_index, 0x0);

// HV_INTERCEPT_ACCESS_TYPE, in the intercept header
enum class HvInterceptAccessType : uint8_t {
  HvInterceptAccessRead = 0,
  HvInterceptAccessWrite = 1,
  HvInterceptAccessExecute = 2,
};

// instruction_length_and_cr8
inline constexpr unsigned kHvInterceptInstructionLengthShift = 0;
inline constexpr unsigned kHvInterceptCr8Shift = 4;

// HV_X64_VP_EXECUTION_STATE
inline constexpr unsigned kHvExecutionCr0PeBit = 2;
inline constexpr unsigned kHvExecutionCr0AmBit = 3;
inline constexpr unsigned kHvExecutionEferLmaBit = 4;
inline constexpr unsigned kHvExecutionDebugActiveBit = 5;
inline constexpr unsigned kHvExecutionInterruptionPendingBit = 6;
inline constexpr unsigned kHvExecutionInterruptShadowBit = 12;

// HV_X64_INTERCEPT_MESSAGE_HEADER. Also the whole payload of HvMessageTypeX64Halt and
// HvMessageTypeUnrecoverableException (shutdown). RIP points at the intercepted instruction.
struct HvX64InterceptMessageHeader {
  uint32_t vp_index;
  uint8_t instruction_length_and_cr8;  // length 0: unknown
  HvInterceptAccessType intercept_access_type;
  uint16_t execution_state;
  HvX64SegmentRegister cs_segment;
  uint64_t rip;
  uint64_t rflags;
};
HV_ABI_STRUCT(HvX64InterceptMessageHeader, 0x28);
HV_ABI_AT(HvX64InterceptMessageHeader, vp_index, 0x0);
HV_ABI_AT(HvX64InterceptMessageHeader, instruction_length_and_cr8, 0x4);
HV_ABI_AT(HvX64InterceptMessageHeader, intercept_access_type, 0x5);
HV_ABI_AT(HvX64InterceptMessageHeader, execution_state, 0x6);
HV_ABI_AT(HvX64InterceptMessageHeader, cs_segment, 0x8);
HV_ABI_AT(HvX64InterceptMessageHeader, rip, 0x18);
HV_ABI_AT(HvX64InterceptMessageHeader, rflags, 0x20);

inline constexpr unsigned kHvInterceptInstructionBytes = 16;

// HV_X64_IO_PORT_ACCESS_INFO
inline constexpr unsigned kHvIoPortStringOpBit = 3;
inline constexpr unsigned kHvIoPortRepPrefixBit = 4;

// HV_X64_IO_PORT_INTERCEPT_MESSAGE
struct HvX64IoPortInterceptMessage {
  HvX64InterceptMessageHeader header;
  uint16_t port_number;
  uint8_t access_info;
  uint8_t instruction_byte_count;
  uint32_t reserved;
  uint64_t rax;
  uint8_t instruction_bytes[kHvInterceptInstructionBytes];
  HvX64SegmentRegister ds_segment;
  HvX64SegmentRegister es_segment;
  uint64_t rcx;
  uint64_t rsi;
  uint64_t rdi;
};
HV_ABI_STRUCT(HvX64IoPortInterceptMessage, 0x80);
HV_ABI_AT(HvX64IoPortInterceptMessage, header, 0x0);
HV_ABI_AT(HvX64IoPortInterceptMessage, port_number, 0x28);
HV_ABI_AT(HvX64IoPortInterceptMessage, access_info, 0x2a);
HV_ABI_AT(HvX64IoPortInterceptMessage, instruction_byte_count, 0x2b);
HV_ABI_AT(HvX64IoPortInterceptMessage, reserved, 0x2c);
HV_ABI_AT(HvX64IoPortInterceptMessage, rax, 0x30);
HV_ABI_AT(HvX64IoPortInterceptMessage, instruction_bytes, 0x38);
HV_ABI_AT(HvX64IoPortInterceptMessage, ds_segment, 0x48);
HV_ABI_AT(HvX64IoPortInterceptMessage, es_segment, 0x58);
HV_ABI_AT(HvX64IoPortInterceptMessage, rcx, 0x68);
HV_ABI_AT(HvX64IoPortInterceptMessage, rsi, 0x70);
HV_ABI_AT(HvX64IoPortInterceptMessage, rdi, 0x78);

// HV_CACHE_TYPE: the x86 memory type numbers
enum class HvCacheType : uint32_t {
  HvCacheTypeUncached = 0,
  HvCacheTypeWriteCombining = 1,
  HvCacheTypeWriteThrough = 4,
  HvCacheTypeWriteProtected = 5,
  HvCacheTypeWriteBack = 6,
};

// HV_X64_MEMORY_ACCESS_INFO
inline constexpr unsigned kHvMemoryAccessGvaValidBit = 0;
inline constexpr unsigned kHvMemoryAccessGvaGpaValidBit = 1;

// HV_X64_MEMORY_INTERCEPT_MESSAGE: UnmappedGpa, GpaIntercept, UnacceptedGpa. Addresses in bytes.
struct HvX64MemoryInterceptMessage {
  HvX64InterceptMessageHeader header;
  HvCacheType cache_type;
  uint8_t instruction_byte_count;
  uint8_t memory_access_info;
  uint8_t tpr_priority;
  uint8_t reserved;
  uint64_t guest_virtual_address;
  uint64_t guest_physical_address;
  uint8_t instruction_bytes[kHvInterceptInstructionBytes];
};
HV_ABI_STRUCT(HvX64MemoryInterceptMessage, 0x50);
HV_ABI_AT(HvX64MemoryInterceptMessage, header, 0x0);
HV_ABI_AT(HvX64MemoryInterceptMessage, cache_type, 0x28);
HV_ABI_AT(HvX64MemoryInterceptMessage, instruction_byte_count, 0x2c);
HV_ABI_AT(HvX64MemoryInterceptMessage, memory_access_info, 0x2d);
HV_ABI_AT(HvX64MemoryInterceptMessage, tpr_priority, 0x2e);
HV_ABI_AT(HvX64MemoryInterceptMessage, reserved, 0x2f);
HV_ABI_AT(HvX64MemoryInterceptMessage, guest_virtual_address, 0x30);
HV_ABI_AT(HvX64MemoryInterceptMessage, guest_physical_address, 0x38);
HV_ABI_AT(HvX64MemoryInterceptMessage, instruction_bytes, 0x40);

// HV_X64_MSR_INTERCEPT_MESSAGE
struct HvX64MsrInterceptMessage {
  HvX64InterceptMessageHeader header;
  uint32_t msr_number;
  uint32_t reserved;
  uint64_t rdx;
  uint64_t rax;
};
HV_ABI_STRUCT(HvX64MsrInterceptMessage, 0x40);
HV_ABI_AT(HvX64MsrInterceptMessage, header, 0x0);
HV_ABI_AT(HvX64MsrInterceptMessage, msr_number, 0x28);
HV_ABI_AT(HvX64MsrInterceptMessage, reserved, 0x2c);
HV_ABI_AT(HvX64MsrInterceptMessage, rdx, 0x30);
HV_ABI_AT(HvX64MsrInterceptMessage, rax, 0x38);

// HV_X64_CPUID_INTERCEPT_MESSAGE. The defaults are what the VP reads if nobody changes them.
struct HvX64CpuidInterceptMessage {
  HvX64InterceptMessageHeader header;
  uint64_t rax;
  uint64_t rcx;
  uint64_t rdx;
  uint64_t rbx;
  uint64_t default_result_rax;
  uint64_t default_result_rcx;
  uint64_t default_result_rdx;
  uint64_t default_result_rbx;
};
HV_ABI_STRUCT(HvX64CpuidInterceptMessage, 0x68);
HV_ABI_AT(HvX64CpuidInterceptMessage, header, 0x0);
HV_ABI_AT(HvX64CpuidInterceptMessage, rax, 0x28);
HV_ABI_AT(HvX64CpuidInterceptMessage, rcx, 0x30);
HV_ABI_AT(HvX64CpuidInterceptMessage, rdx, 0x38);
HV_ABI_AT(HvX64CpuidInterceptMessage, rbx, 0x40);
HV_ABI_AT(HvX64CpuidInterceptMessage, default_result_rax, 0x48);
HV_ABI_AT(HvX64CpuidInterceptMessage, default_result_rcx, 0x50);
HV_ABI_AT(HvX64CpuidInterceptMessage, default_result_rdx, 0x58);
HV_ABI_AT(HvX64CpuidInterceptMessage, default_result_rbx, 0x60);

inline constexpr unsigned kHvExceptionErrorCodeValidBit = 0;
inline constexpr unsigned kHvExceptionSoftwareBit = 1;

// HV_X64_EXCEPTION_INTERCEPT_MESSAGE. gp_registers in encoding order: RAX RCX RDX RBX RSP RBP RSI
// RDI R8..R15.
struct HvX64ExceptionInterceptMessage {
  HvX64InterceptMessageHeader header;
  uint16_t exception_vector;
  uint8_t exception_info;
  uint8_t instruction_byte_count;
  uint32_t error_code;
  uint64_t exception_parameter;
  uint64_t reserved;
  uint8_t instruction_bytes[kHvInterceptInstructionBytes];
  HvX64SegmentRegister ds_segment;
  HvX64SegmentRegister ss_segment;
  uint64_t gp_registers[16];
};
HV_ABI_STRUCT(HvX64ExceptionInterceptMessage, 0xf0);
HV_ABI_AT(HvX64ExceptionInterceptMessage, header, 0x0);
HV_ABI_AT(HvX64ExceptionInterceptMessage, exception_vector, 0x28);
HV_ABI_AT(HvX64ExceptionInterceptMessage, exception_info, 0x2a);
HV_ABI_AT(HvX64ExceptionInterceptMessage, instruction_byte_count, 0x2b);
HV_ABI_AT(HvX64ExceptionInterceptMessage, error_code, 0x2c);
HV_ABI_AT(HvX64ExceptionInterceptMessage, exception_parameter, 0x30);
HV_ABI_AT(HvX64ExceptionInterceptMessage, reserved, 0x38);
HV_ABI_AT(HvX64ExceptionInterceptMessage, instruction_bytes, 0x40);
HV_ABI_AT(HvX64ExceptionInterceptMessage, ds_segment, 0x50);
HV_ABI_AT(HvX64ExceptionInterceptMessage, ss_segment, 0x60);
HV_ABI_AT(HvX64ExceptionInterceptMessage, gp_registers, 0x70);

// HV_X64_HYPERCALL_INTERCEPT_MESSAGE. Linux sends no trailing reserved field.
struct HvX64HypercallInterceptMessage {
  HvX64InterceptMessageHeader header;
  uint64_t rax;
  uint64_t rbx;
  uint64_t rcx;
  uint64_t rdx;
  uint64_t r8;
  uint64_t rsi;
  uint64_t rdi;
  HvUint128 xmm_registers[6];
  uint32_t flags;  // bit 0: the partition is isolated
  uint32_t reserved[3];
};
HV_ABI_STRUCT(HvX64HypercallInterceptMessage, 0xd0);
HV_ABI_AT(HvX64HypercallInterceptMessage, header, 0x0);
HV_ABI_AT(HvX64HypercallInterceptMessage, rax, 0x28);
HV_ABI_AT(HvX64HypercallInterceptMessage, rbx, 0x30);
HV_ABI_AT(HvX64HypercallInterceptMessage, rcx, 0x38);
HV_ABI_AT(HvX64HypercallInterceptMessage, rdx, 0x40);
HV_ABI_AT(HvX64HypercallInterceptMessage, r8, 0x48);
HV_ABI_AT(HvX64HypercallInterceptMessage, rsi, 0x50);
HV_ABI_AT(HvX64HypercallInterceptMessage, rdi, 0x58);
HV_ABI_AT(HvX64HypercallInterceptMessage, xmm_registers, 0x60);
HV_ABI_AT(HvX64HypercallInterceptMessage, flags, 0xc0);
HV_ABI_AT(HvX64HypercallInterceptMessage, reserved, 0xc4);

// HV_X64_APIC_EOI_MESSAGE: the guest ended a level interrupt. No intercept header.
struct HvX64ApicEoiMessage {
  uint32_t vp_index;
  uint32_t interrupt_vector;
};
HV_ABI_STRUCT(HvX64ApicEoiMessage, 0x8);
HV_ABI_AT(HvX64ApicEoiMessage, vp_index, 0x0);
HV_ABI_AT(HvX64ApicEoiMessage, interrupt_vector, 0x4);

// HV_X64_SYNIC_SINT_DELIVERABLE_MESSAGE: bit n, SINT n can take a message again.
struct HvX64SynicSintDeliverableMessage {
  HvX64InterceptMessageHeader header;
  uint16_t deliverable_sints;
  uint16_t reserved1;
  uint32_t reserved2;
};
HV_ABI_STRUCT(HvX64SynicSintDeliverableMessage, 0x30);
HV_ABI_AT(HvX64SynicSintDeliverableMessage, header, 0x0);
HV_ABI_AT(HvX64SynicSintDeliverableMessage, deliverable_sints, 0x28);
HV_ABI_AT(HvX64SynicSintDeliverableMessage, reserved1, 0x2a);
HV_ABI_AT(HvX64SynicSintDeliverableMessage, reserved2, 0x2c);

// HV_X64_INVALID_VP_REGISTER_MESSAGE: the VP cannot be entered with its registers. No header.
struct HvX64InvalidVpRegisterMessage {
  uint32_t vp_index;
  uint32_t reserved;
};
HV_ABI_STRUCT(HvX64InvalidVpRegisterMessage, 0x8);
HV_ABI_AT(HvX64InvalidVpRegisterMessage, vp_index, 0x0);
HV_ABI_AT(HvX64InvalidVpRegisterMessage, reserved, 0x4);

enum class HvUnsupportedFeature : uint32_t {
  HvUnsupportedFeatureIntercept = 1,
};

// HV_X64_UNSUPPORTED_FEATURE_MESSAGE. No header.
struct HvX64UnsupportedFeatureMessage {
  uint32_t vp_index;
  HvUnsupportedFeature feature_code;
  uint64_t feature_parameter;
};
HV_ABI_STRUCT(HvX64UnsupportedFeatureMessage, 0x10);
HV_ABI_AT(HvX64UnsupportedFeatureMessage, vp_index, 0x0);
HV_ABI_AT(HvX64UnsupportedFeatureMessage, feature_code, 0x4);
HV_ABI_AT(HvX64UnsupportedFeatureMessage, feature_parameter, 0x8);

// HvMessageTypeSchedulerVpSignalPair: (partition, VP) pairs to dispatch. [Linux hvhdk.h]
struct HvVpSignalPairSchedulerMessage {
  uint32_t overflow_count;
  uint8_t vp_count;
  uint8_t reserved1[3];
  uint64_t partition_ids[19];
  uint32_t vp_indexes[19];
  uint32_t reserved2;
};
HV_ABI_STRUCT(HvVpSignalPairSchedulerMessage, 0xf0);
HV_ABI_AT(HvVpSignalPairSchedulerMessage, overflow_count, 0x0);
HV_ABI_AT(HvVpSignalPairSchedulerMessage, vp_count, 0x4);
HV_ABI_AT(HvVpSignalPairSchedulerMessage, reserved1, 0x5);
HV_ABI_AT(HvVpSignalPairSchedulerMessage, partition_ids, 0x8);
HV_ABI_AT(HvVpSignalPairSchedulerMessage, vp_indexes, 0xa0);
HV_ABI_AT(HvVpSignalPairSchedulerMessage, reserved2, 0xec);

}  // namespace hv::abi

/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* Assertions of sizes, offsets and numbers for the interfaces beside this file, in C and C++. */
#ifndef ABI_ROOT_LAYOUT_H
#define ABI_ROOT_LAYOUT_H

#ifdef __cplusplus
#define HV_ROOT_ABI_ASSERT(x) static_assert(x, #x)
#else
#define HV_ROOT_ABI_ASSERT(x) _Static_assert(x, #x)
#endif
#define HV_ROOT_ABI_SIZE(type, size) HV_ROOT_ABI_ASSERT(sizeof(struct type) == (size))
#define HV_ROOT_ABI_AT(type, member, at) \
	HV_ROOT_ABI_ASSERT(__builtin_offsetof(struct type, member) == (at))
/* An ioctl is its number, whatever makes it up. */
#define HV_ROOT_ABI_CALL(call, number) HV_ROOT_ABI_ASSERT((call) == (number))

#endif

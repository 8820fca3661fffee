// SPDX-License-Identifier: MIT
#include "chipset/rtc.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace chipset {
namespace {

enum Register : uint8_t {
  kSeconds = 0,
  kSecondsAlarm = 1,
  kMinutes = 2,
  kMinutesAlarm = 3,
  kHours = 4,
  kHoursAlarm = 5,
  kWeekday = 6,
  kDay = 7,
  kMonth = 8,
  kYear = 9,
  kA = 10,
  kB = 11,
  kC = 12,
  kD = 13,
};

constexpr uint8_t kAUpdateInProgress = 0x80;
constexpr uint8_t kADivider = 0x70;
constexpr uint8_t kADividerNormal = 0x20;  // 32,768 Hz time base
constexpr uint8_t kARate = 0x0F;

constexpr uint8_t kBSet = 0x80;
constexpr uint8_t kBPeriodic = 0x40;
constexpr uint8_t kBAlarm = 0x20;
constexpr uint8_t kBUpdate = 0x10;
constexpr uint8_t kBBinary = 0x04;
constexpr uint8_t kB24Hours = 0x02;

constexpr uint8_t kCInterrupt = 0x80;
constexpr uint8_t kCPeriodic = 0x40;
constexpr uint8_t kCAlarm = 0x20;
constexpr uint8_t kCUpdate = 0x10;

constexpr uint8_t kDValid = 0x80;
constexpr uint8_t kPm = 0x80;         // in the hours of a 12-hour clock
constexpr uint8_t kDoNotCare = 0xC0;  // alarm fields from here on match anything

constexpr int64_t kUpdateNs = 1'984'000;  // 244 us of warning and 1,740 us of update [data sheet]
constexpr int64_t kMaxCatchUp = 2;        // seconds; older update and alarm events are lost
constexpr auto kNs = static_cast<int64_t>(kNsPerSecond);

constexpr bool is_time_register(uint8_t index) {
  return index <= kYear && index != kSecondsAlarm && index != kMinutesAlarm && index != kHoursAlarm;
}

constexpr int64_t floor_seconds(int64_t ns) {
  return ns / kNs - (ns % kNs < 0 ? 1 : 0);
}

}  // namespace

struct Rtc::Calendar {
  unsigned second, minute, hour, weekday, day, month, year;

  static Calendar from(int64_t seconds) {
    using namespace std::chrono;
    const sys_seconds time{std::chrono::seconds{seconds}};
    const auto date = floor<days>(time);
    const year_month_day ymd{date};
    const hh_mm_ss clock{time - date};
    return {static_cast<unsigned>(clock.seconds().count()),
            static_cast<unsigned>(clock.minutes().count()),
            static_cast<unsigned>(clock.hours().count()),
            weekday_of(date),
            unsigned{ymd.day()},
            unsigned{ymd.month()},
            static_cast<unsigned>(int{ymd.year()})};
  }
  static unsigned weekday_of(std::chrono::sys_days date) {
    return std::chrono::weekday{date}.c_encoding() + 1;  // Sunday is 1
  }
  // Fields out of range carry over into the next unit: 31 February is 3 March.
  int64_t to_seconds() const {
    using namespace std::chrono;
    const std::chrono::year y{static_cast<int>(year)};
    const std::chrono::month m{std::clamp(month, 1u, 12u)};
    const sys_days first = y / m / 1;
    const auto date = first + days{day == 0 ? 0 : static_cast<int>(day) - 1};
    return sys_seconds{date}.time_since_epoch().count() + hour * 3600 + minute * 60 + second;
  }
};

Rtc::Battery::Battery() {
  ram[kA] = kADividerNormal | 6;  // 1,024 Hz
  ram[kB] = kB24Hours;
  ram[kD] = kDValid;
}

Rtc::Rtc(const Clock& clock, Battery& battery, std::function<void(bool)> irq)
    : clock_(clock), battery_(battery), irq_(std::move(irq)) {
  ram_[kB] &= static_cast<uint8_t>(~(kBPeriodic | kBAlarm | kBUpdate));
  ram_[kC] = 0;
  last_second_ = now_seconds();
  last_period_ = clock.now();
}

int64_t Rtc::now_seconds() const {
  return floor_seconds(now_ns());
}

bool Rtc::is_running() const {
  return (ram_[kB] & kBSet) == 0 && (ram_[kA] & kADivider) == kADividerNormal;
}

uint64_t Rtc::period_ns() const {
  unsigned rate = ram_[kA] & kARate;
  if (rate == 0 || (ram_[kA] & kADivider) != kADividerNormal) return 0;
  if (rate <= 2) rate += 7;  // the two fastest settings of this time base alias 256 and 128 Hz
  return kNsPerSecond * (uint64_t{1} << (rate - 1)) / 32'768;
}

uint8_t Rtc::encode(unsigned value) const {
  if ((ram_[kB] & kBBinary) != 0) return static_cast<uint8_t>(value);
  return static_cast<uint8_t>(value / 10 % 10 << 4 | value % 10);
}

unsigned Rtc::decode(uint8_t value) const {
  return (ram_[kB] & kBBinary) != 0 ? value : (value >> 4) * 10u + (value & 15u);
}

uint8_t Rtc::encode_hour(unsigned hour) const {
  if ((ram_[kB] & kB24Hours) != 0) return encode(hour);
  const unsigned twelve = hour % 12 == 0 ? 12 : hour % 12;
  return encode(twelve) | (hour >= 12 ? kPm : 0);
}

unsigned Rtc::decode_hour(uint8_t value) const {
  if ((ram_[kB] & kB24Hours) != 0) return decode(value);
  return decode(value & static_cast<uint8_t>(~kPm)) % 12 + ((value & kPm) != 0 ? 12 : 0);
}

// Writes the current time into the registers, in the format register B asks for.
void Rtc::store_calendar() {
  const Calendar now = Calendar::from(now_seconds());
  ram_[kSeconds] = encode(now.second);
  ram_[kMinutes] = encode(now.minute);
  ram_[kHours] = encode_hour(now.hour);
  ram_[kWeekday] = encode(now.weekday);
  ram_[kDay] = encode(now.day);
  ram_[kMonth] = encode(now.month);
  ram_[kYear] = encode(now.year % 100);
  ram_[kCenturyRegister] = encode(now.year / 100);
}

// Takes the registers as the time it is now, to the fraction of a second.
void Rtc::load_calendar() {
  const Calendar set{decode(ram_[kSeconds]),
                     decode(ram_[kMinutes]),
                     decode_hour(ram_[kHours]),
                     0,
                     decode(ram_[kDay]),
                     decode(ram_[kMonth]),
                     decode(ram_[kCenturyRegister]) * 100 + decode(ram_[kYear]) % 100};
  // 64 bits of nanoseconds reach from 1678 to 2261: what lies outside is taken as the nearest.
  constexpr int64_t kLimit = int64_t{9'000'000'000};
  battery_.offset += (std::clamp(set.to_seconds(), int64_t{0}, kLimit) - now_seconds()) * kNs;
  last_second_ = now_seconds();
}

uint32_t Rtc::read_port(uint16_t port, unsigned) {
  return port == kDataPort ? read_register(index_) : 0xFF;  // the index is write-only
}

void Rtc::write_port(uint16_t port, unsigned, uint32_t value) {
  if (port == kIndexPort) {
    index_ = value & 0x7F;  // bit 7 masks NMIs on a PC: nothing here raises one
  } else {
    advance();
    write_register(index_, static_cast<uint8_t>(value));
  }
}

uint8_t Rtc::read_register(uint8_t index) {
  if ((is_time_register(index) || index == kCenturyRegister) && is_running()) store_calendar();
  if (index == kA) {
    const int64_t fraction = now_ns() - now_seconds() * kNs;
    const bool updating = is_running() && fraction >= kNs - kUpdateNs;
    return ram_[kA] | (updating ? kAUpdateInProgress : 0);
  }
  if (index == kC) {
    advance();
    const uint8_t causes = std::exchange(ram_[kC], uint8_t{0});
    if ((causes & kCInterrupt) != 0) irq_(false);
    return causes;
  }
  return ram_[index];
}

void Rtc::write_register(uint8_t index, uint8_t value) {
  switch (index) {
    case kA: {
      const bool was = is_running();
      if (was) store_calendar();
      ram_[kA] = value & static_cast<uint8_t>(~kAUpdateInProgress);
      if (!was && is_running()) load_calendar();
      last_period_ = clock_.now();
      break;
    }
    case kB: {
      const bool was = is_running();
      if (was) store_calendar();
      ram_[kB] = (value & kBSet) != 0 ? value & static_cast<uint8_t>(~kBUpdate) : value;
      if (!was && is_running()) load_calendar();
      raise(0);
      break;
    }
    case kC:
    case kD:
      break;
    default:
      if ((is_time_register(index) || index == kCenturyRegister) && is_running()) {
        store_calendar();
        ram_[index] = value;
        load_calendar();
      } else {
        ram_[index] = value;
      }
      break;
  }
}

bool Rtc::alarm_matches(int64_t second) const {
  const Calendar time = Calendar::from(second);
  const auto matches = [](uint8_t alarm, uint8_t now) {
    return alarm >= kDoNotCare || alarm == now;
  };
  return matches(ram_[kSecondsAlarm], encode(time.second)) &&
         matches(ram_[kMinutesAlarm], encode(time.minute)) &&
         matches(ram_[kHoursAlarm], encode_hour(time.hour));
}

uint64_t Rtc::next_event() const {
  uint64_t next = kNever;
  if ((ram_[kB] & kBPeriodic) != 0 && (ram_[kC] & kCPeriodic) == 0 && period_ns() != 0) {
    next = last_period_ + period_ns();
  }
  // Alarms are looked for once a second while they are enabled.
  if ((ram_[kB] & (kBAlarm | kBUpdate)) != 0 && is_running()) {
    const int64_t to_go = (last_second_ + 1) * kNs - now_ns();
    next = std::min(next, clock_.now() + static_cast<uint64_t>(std::clamp<int64_t>(to_go, 0, kNs)));
  }
  return next;
}

void Rtc::advance() {
  uint8_t causes = 0;
  const uint64_t now = clock_.now();
  const uint64_t period = period_ns();
  if (period != 0 && now - last_period_ >= period) {
    last_period_ += (now - last_period_) / period * period;
    causes |= kCPeriodic;
  }
  const int64_t second = now_seconds();
  if (is_running() && second != last_second_) {
    causes |= kCUpdate;
    const int64_t from = std::max(last_second_ + 1, second - kMaxCatchUp);
    for (int64_t t = from; t <= second; ++t) {
      if (alarm_matches(t)) causes |= kCAlarm;
    }
  }
  last_second_ = second;
  raise(causes);
}

// Flags are set whether enabled or not; the line follows those that are enabled.
void Rtc::raise(uint8_t causes) {
  const bool before = (ram_[kC] & kCInterrupt) != 0;
  ram_[kC] |= causes;
  const bool pending = (ram_[kC] & ram_[kB] & (kCPeriodic | kCAlarm | kCUpdate)) != 0;
  ram_[kC] = static_cast<uint8_t>((ram_[kC] & ~kCInterrupt) | (pending ? kCInterrupt : 0));
  if (pending != before) irq_(pending);
}

}  // namespace chipset

// SPDX-License-Identifier: MIT
// Where the VM's serial port leads: the terminal, a Unix socket (one client at a time), a file or
// nowhere. Bytes wait in two bounded queues; the loop's thread moves them, VP threads only touch
// the queues. A terminal is raw while this object lives, and is restored on every way out.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "chipset/uart16550.h"
#include "vmwp/config.h"
#include "vmwp/event_loop.h"
#include "vmwp/failure.h"
#include "vmwp/unique_fd.h"

namespace vmwp {

class Console final : public chipset::SerialPeer {
 public:
  static constexpr uint8_t kEscape = 0x1D;  // Ctrl-]

  /// Opens what the configuration names. Errors are bad input.
  static Result<std::unique_ptr<Console>> open(const ConsoleConfig& config);
  ~Console() override;

  /// Starts moving bytes. `ready`: the serial port should transfer (input came, room came);
  /// `quit`: the user asked to leave.
  void attach(EventLoop& loop, std::function<void()> ready, std::function<void()> quit);
  /// Writes out what is queued, for at most a second or two.
  void flush();

  // SerialPeer, from any thread.
  bool put(uint8_t byte) override;
  std::optional<uint8_t> get() override;

 private:
  Console(ConsoleConfig::Kind kind, UniqueFd input, UniqueFd output);

  void accept_client();
  void drop_client();
  void on_input();
  void on_doorbell();
  void watch_streams();
  bool drain_output();
  void lose_output();
  void set_output_wanted(bool wanted);

  ConsoleConfig::Kind kind_;
  UniqueFd input_;
  UniqueFd output_;
  UniqueFd listener_;
  std::string socket_path_;
  bool raw_ = false;
  EventLoop* loop_ = nullptr;
  std::function<void()> ready_;
  std::function<void()> quit_;
  Doorbell doorbell_;

  std::mutex lock_;
  std::deque<uint8_t> to_guest_;
  std::deque<uint8_t> from_guest_;
  bool room_wanted_ = false;    // put() was refused: say when there is room
  bool input_paused_ = false;   // to_guest_ was full: say when there is room
  bool discards_ = false;       // nobody listens: swallow output
  bool output_wanted_ = false;  // the loop waits for room in output_
};

}  // namespace vmwp

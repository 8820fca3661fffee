// SPDX-License-Identifier: MIT
// Where the VM's serial port leads: the terminal, a Unix socket (one client at a time), a file or
// nowhere. Bytes wait in two bounded queues; serve() moves them, VP threads only touch the queues.
// A terminal is raw from then on, while this object lives, and is restored on every way out.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>

#include "chipset/uart16550.h"
#include "runtime/port.h"
#include "runtime/task.h"
#include "vmwp/config.h"
#include "vmwp/failure.h"

namespace vmwp {

class Console final : public chipset::SerialPeer {
 public:
  static constexpr uint8_t kEscape = 0x1D;  // Ctrl-]

  struct Events {
    std::function<void()> ready;  // the serial port should transfer: input came, or room
    std::function<void()> quit;   // the user asked to leave
  };

  /// Opens what the configuration names. Errors are bad input.
  static Result<std::unique_ptr<Console>> open(const ConsoleConfig& config, runtime::Port& port);
  ~Console() override;

  /// Moves bytes until it is cancelled. Once.
  runtime::Task<> serve(Events events);
  /// Beside serve(): until all that is queued is written, for at most a second or two.
  runtime::Task<> flush();

  // SerialPeer, from any thread.
  bool put(uint8_t byte) override;
  std::optional<uint8_t> get() override;

 private:
  Console(ConsoleConfig::Kind kind, runtime::Port& port);

  runtime::Task<> take_clients();
  runtime::Task<> serve_client(runtime::UniqueFd client);
  runtime::Task<runtime::Result<>> move_input(const runtime::Descriptor& input);
  runtime::Task<runtime::Result<>> move_output(const runtime::Descriptor& output);
  runtime::Task<> give_input();
  runtime::Task<> give_output();
  runtime::Task<runtime::Result<>> wait_for_room();
  runtime::Task<runtime::Result<>> wait_until_written();
  void take_input(std::span<const std::byte> bytes);
  size_t peek_output(std::span<std::byte> chunk);
  void wrote(size_t count);
  bool all_written();
  bool listened();
  void set_listened(bool listened);

  const ConsoleConfig::Kind kind_;
  runtime::Port& port_;
  runtime::Descriptor input_;
  runtime::Descriptor output_;
  runtime::Descriptor listener_;
  std::string socket_path_;
  bool raw_ = false;
  Events events_;
  runtime::Signal output_queued_;
  runtime::Signal output_written_;
  runtime::Signal input_room_;

  std::mutex lock_;
  std::deque<uint8_t> to_guest_;
  std::deque<uint8_t> from_guest_;
  bool room_wanted_ = false;   // put() was refused: say when there is room
  bool input_paused_ = false;  // to_guest_ was full: say when there is room
  bool discards_ = true;       // nobody listens, a socket has no client: swallow output
};

}  // namespace vmwp

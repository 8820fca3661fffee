// SPDX-License-Identifier: MIT
// Starts a thread the way all of the runtime's are: with a name, and with every signal blocked that
// is not the thread's own fault, so that signals go to the threads that the process chose. Running
// out of threads is an error value.
#pragma once

#include <pthread.h>
#include <signal.h>

#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "runtime/error.h"

namespace runtime {

template <class Body>
Result<std::jthread> start_thread(const std::string& name, Body body) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP}) sigdelset(&all, fault);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  Result<std::jthread> thread;
  try {
    thread = std::jthread([name = name.substr(0, 15), body = std::move(body)]() mutable {
      pthread_setname_np(pthread_self(), name.c_str());
      body();
    });
  } catch (const std::system_error& error) {
    thread = std::unexpected(error.code());
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

}  // namespace runtime

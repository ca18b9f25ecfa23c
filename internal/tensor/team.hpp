// Threads that share the few-row operators of decoding.
#pragma once
#include <ATen/Parallel.h>
#include <sched.h>

#include <atomic>
#include <mutex>
#include <thread>

namespace hone {
// A token is some hundred products of tens of microseconds each. OpenMP's threads fall asleep between two of them, and to wake
// one costs as much as it then does; told to spin for long, they keep the processor from other programs. These spin for a
// while, give way to whoever wants the processor, and sleep after that.
class Team {
public:
  // Calls f(from, to) on parts of 0 … n, at least `least` long, one a thread. The parts are the same at every call.
  template <class F>
  static void share(int64_t n, int64_t least, const F &f) {
    int64_t threads = std::min<int64_t>(at::get_num_threads(), (n + least - 1) / least);
    if (threads <= 1 || at::in_parallel_region()) return f(int64_t(0), n);
    std::unique_lock<std::mutex> own(instance().busy_, std::try_to_lock);
    if (!own) return at::parallel_for(0, n, least, f);
    auto part = [&](int64_t i) { if (int64_t a = i * n / threads, b = (i + 1) * n / threads; a < b) f(a, b); };
    instance().run(int(threads), [](const void *p, int i) { (*static_cast<const decltype(part) *>(p))(i); }, &part);
  }

private:
  using Call = void (*)(const void *, int);

  static Team &instance() {
    static Team *team = new Team; // never destroyed: its threads outlive main
    return *team;
  }

  void run(int threads, Call call, const void *work) {
    while (helpers_ < threads - 1) std::thread(&Team::help, this, ++helpers_, round_.load()).detach();
    call_ = call, work_ = work, threads_ = threads;
    left_.store(helpers_, std::memory_order_relaxed);
    round_.fetch_add(1, std::memory_order_release);
    round_.notify_all();
    call(work, 0);
    for (int turn = 1; left_.load(std::memory_order_acquire) != 0; turn++) pause(turn);
  }

  void help(int self, uint32_t seen) {
    for (;;) {
      for (int turn = 1; round_.load(std::memory_order_acquire) == seen; turn++) {
        if (turn < kTurns) pause(turn);
        else round_.wait(seen, std::memory_order_acquire);
      }
      seen++;
      if (self < threads_) call_(work_, self);
      left_.fetch_sub(1, std::memory_order_release);
    }
  }

  static void pause(int turn) {
    __builtin_ia32_pause();
    if (turn % 64 == 0) sched_yield();
  }

  static constexpr int kTurns = 10000; // some 200 µs
  std::mutex busy_;
  int helpers_ = 0, threads_ = 0;
  Call call_ = nullptr;
  const void *work_ = nullptr;
  alignas(64) std::atomic<uint32_t> round_{0};
  alignas(64) std::atomic<int> left_{0};
};
} // namespace hone

#include "parallel.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>

namespace {

/** Nanoseconds of work above which it is worth waking another thread. */
constexpr double worthSharing = 50000;

/** Pieces per thread: several, to balance threads that start late. */
constexpr int64_t piecesPerThread = 4;

class Job {
public:
  Job(int64_t count, int64_t pieces, const std::function<void(int64_t, int64_t)> &work)
      : count(count), pieces(pieces), work(work) {}

  /** Runs pieces until none is left to start. */
  void help() {
    for (int64_t piece = next++; piece < pieces; piece = next++) {
      work(count * piece / pieces, count * (piece + 1) / pieces);
      std::lock_guard<std::mutex> lock(mutex);
      if (++done == pieces) finished.notify_one();
    }
  }

  /** Waits until other threads have finished their pieces. */
  void wait() {
    std::unique_lock<std::mutex> lock(mutex);
    finished.wait(lock, [this] { return done == pieces; });
  }

private:
  const int64_t count, pieces;
  /** Not used once all pieces are done. */
  const std::function<void(int64_t, int64_t)> &work;
  std::atomic<int64_t> next{0};
  int64_t done = 0;
  std::mutex mutex;
  std::condition_variable finished;
};

/** Threads that wait for jobs until the process ends. */
class Pool {
public:
  explicit Pool(int64_t threads) {
    for (int64_t i = 0; i < threads; i++) std::thread([this] { serve(); }).detach();
  }

  void offer(const std::shared_ptr<Job> &job, int64_t helpers) {
    {
      std::lock_guard<std::mutex> lock(mutex);
      for (int64_t i = 0; i < helpers; i++) jobs.push_back(job);
    }
    for (int64_t i = 0; i < helpers; i++) wake.notify_one();
  }

private:
  void serve() {
    for (;;) {
      std::shared_ptr<Job> job;
      {
        std::unique_lock<std::mutex> lock(mutex);
        wake.wait(lock, [this] { return !jobs.empty(); });
        job = jobs.front();
        jobs.pop_front();
      }
      job->help();
    }
  }

  std::mutex mutex;
  std::condition_variable wake;
  std::deque<std::shared_ptr<Job>> jobs;
};

} // namespace

int64_t threadCount() {
  static const int64_t count = [] {
    const char *wanted = std::getenv("TINYZERO_KERNEL_THREADS");
    if (wanted == nullptr) wanted = std::getenv("TF_NUM_INTRAOP_THREADS");
    const int64_t given = wanted == nullptr ? 0 : std::atoll(wanted);
    return given > 0 ? given : std::max<int64_t>(1, std::thread::hardware_concurrency());
  }();
  return count;
}

void share(int64_t count, double cost, const std::function<void(int64_t, int64_t)> &work) {
  const int64_t worth = static_cast<int64_t>(count * cost / worthSharing);
  const int64_t threads = std::min({threadCount(), count, std::max<int64_t>(1, worth)});
  if (threads <= 1) {
    if (count > 0) work(0, count);
    return;
  }
  // Never destroyed: threads may still wait on it when the process ends.
  static Pool *pool = new Pool(threadCount() - 1);
  const auto job = std::make_shared<Job>(count, std::min(count, threads * piecesPerThread), work);
  pool->offer(job, threads - 1);
  job->help();
  job->wait();
}

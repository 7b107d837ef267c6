/** @file Divides independent work among threads. */
#pragma once
#include <stdint.h>

#include <functional>

/**
 * Calls `work(begin, end)` for pieces of [0, count), on this thread and idle ones, and returns when all are done.
 * `cost`: about the nanoseconds of one unit; too little work for a second thread stays on this one.
 */
void share(int64_t count, double cost, const std::function<void(int64_t, int64_t)> &work);

/** Most threads per call: TINYZERO_KERNEL_THREADS, else TF_NUM_INTRAOP_THREADS, else one per processor. */
int64_t threadCount();

/** @file Divides independent work among threads. */
#pragma once
#include <stdint.h>

#include <functional>

/**
 * Calls `work(begin, end)` for pieces of [0, count), on this thread and idle ones, and returns when all are done.
 *
 * @param cost approximate nanoseconds per unit. Work too small to divide runs on this thread alone.
 */
void share(int64_t count, double cost, const std::function<void(int64_t, int64_t)> &work);

/** Largest number of threads per call: TINYZERO_KERNEL_THREADS, else TF_NUM_INTRAOP_THREADS, else one per processor. */
int64_t threadCount();

/** @file Sharing independent work among threads. */
#pragma once
#include <stdint.h>

#include <functional>

/**
 * Calls `work(begin, end)` for pieces of [0, count), on this thread and idle ones, and returns when all are done.
 * `cost` is that of one unit in about nanoseconds; too little work for a second thread stays on this one.
 */
void share(int64_t count, double cost, const std::function<void(int64_t, int64_t)> &work);

/** How many threads at most work for one call: TINYZERO_KERNEL_THREADS, else TF_NUM_INTRAOP_THREADS, else one per processor. */
int64_t threadCount();

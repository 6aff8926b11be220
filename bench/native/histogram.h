/* A log-linear histogram of ns: 128 buckets per power of two, so a value is off by less than 1 %. */
#ifndef KVNODE_BENCH_HISTOGRAM_H
#define KVNODE_BENCH_HISTOGRAM_H

#include <stdint.h>

enum { SUB_BITS = 7, BUCKETS = 64 << SUB_BITS };

static int bucket_of(uint64_t v) {
    int shift = v < (2u << SUB_BITS) ? 0 : 63 - __builtin_clzll(v) - SUB_BITS;
    return (shift << SUB_BITS) + (int)(v >> shift);
}

static uint64_t bucket_top(int b) {  /* largest value of the bucket */
    int shift = b < (2 << SUB_BITS) ? 0 : (b >> SUB_BITS) - 1;
    return (((uint64_t)(b - (shift << SUB_BITS)) + 1) << shift) - 1;
}

#endif

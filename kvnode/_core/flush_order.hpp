// The order in which a checkpoint writes: that of the keys in LevelDB. Each of LevelDB's level-0
// files then covers a narrow range of keys, and a compaction of it rewrites little of level 1.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace kvnode {

struct FlushKey {
    uint64_t table;     // kind of record, then generation
    uint64_t hash;      // what a key in LevelDB goes on with
    void *entry;
};

// Entries that are equal stay as they were written.
inline void sort_for_flush(std::vector<FlushKey> &keys) {
    std::stable_sort(keys.begin(), keys.end(), [](const FlushKey &a, const FlushKey &b) {
        return a.table != b.table ? a.table < b.table : a.hash < b.hash;
    });
}

}  // namespace kvnode

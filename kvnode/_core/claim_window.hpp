// Runs of dead positions of a list, in order: index <-> position in O(log of the number of runs).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace kvnode {

struct Run {
    int64_t start;
    int64_t count;
};

// Runs neither overlap nor touch; positions and indexes count from `head`, which no run covers.
class ClaimWindow {
  public:
    size_t size() const { return runs_.size() - first_; }
    Run at(size_t i) const { return {runs_[first_ + i].start, runs_[first_ + i].count}; }

    // Memory of the runs.
    size_t bytes() const { return runs_.capacity() * sizeof(Summed); }

    void clear() {
        runs_.clear();
        first_ = 0;
    }

    // Adds a run, in any order; sort() ends it.
    void add(int64_t start, int64_t count) { runs_.push_back({start, count, 0}); }

    void sort() {
        std::sort(runs_.begin(), runs_.end(),
                  [](const Summed& a, const Summed& b) { return a.start < b.start; });
        int64_t dead = 0;
        for (Summed& run : runs_) {
            run.before = dead;
            dead += run.count;
        }
    }

    // How many runs begin at or before a position.
    size_t runs_upto(int64_t position) const {
        return std::upper_bound(runs_.begin() + first_, runs_.end(), position,
                                [](int64_t p, const Summed& run) { return p < run.start; }) -
               runs_.begin() - first_;
    }

    // The position of the element at `index`; run: how many runs lie before it.
    int64_t position_of(int64_t head, int64_t index, size_t* run) const {
        const int64_t dead = first_ < runs_.size() ? runs_[first_].before : 0;
        auto past = std::upper_bound(runs_.begin() + first_, runs_.end(), index,
                                     [=](int64_t i, const Summed& r) {
                                         return i < r.start - head - (r.before - dead);
                                     });
        *run = past - runs_.begin() - first_;
        return head + index + dead_before(*run);
    }

    // The index of the element at a position that no run covers.
    int64_t index_of(int64_t head, int64_t position) const {
        return position - head - dead_before(runs_upto(position));
    }

    void drop_front() { ++first_; }
    void drop_back() { runs_.pop_back(); }

  private:
    struct Summed {
        int64_t start;
        int64_t count;
        int64_t before;  // dead positions in the runs before it, those dropped since included
    };

    int64_t dead_before(size_t n) const {
        if (n == 0) return 0;
        const Summed& last = runs_[first_ + n - 1];
        return last.before + last.count - runs_[first_].before;
    }

    std::vector<Summed> runs_;
    size_t first_ = 0;
};

}  // namespace kvnode

// Expiry deadlines: hints that the sweeper checks against the heads and fields. Two min-heaps: what was filed
// before the running checkpoint began is covered by rows in LevelDB when it ends, and goes then.
#pragma once
#include <cstdint>
#include <functional>
#include <queue>
#include <utility>
#include <vector>

namespace kvnode {

struct Deadline {
    uint64_t at_ms;
    uint64_t owner;     // generation of a head, collection id of a field: both from one counter
    uint64_t hash;
    bool operator>(const Deadline &other) const { return at_ms > other.at_ms; }
};

class Deadlines {
  public:
    void push(uint64_t at_ms, uint64_t owner, uint64_t hash) {
        recent_.push(Deadline{at_ms, owner, hash});
    }
    bool due(uint64_t now_ms) const {
        return (!recent_.empty() && recent_.top().at_ms <= now_ms)
            || (!older_.empty() && older_.top().at_ms <= now_ms);
    }
    Deadline top() const { return heap().top(); }
    void pop() { const_cast<Heap &>(heap()).pop(); }
    size_t size() const { return recent_.size() + older_.size(); }

    // A checkpoint begins: all that was filed until now will have a row when it ends.
    void begin_checkpoint() {
        for (; !older_.empty(); older_.pop()) {
            recent_.push(older_.top());
        }
        std::swap(recent_, older_);
    }
    void end_checkpoint() { older_ = Heap(); }

  private:
    using Heap = std::priority_queue<Deadline, std::vector<Deadline>, std::greater<Deadline>>;

    const Heap &heap() const {
        if (older_.empty() || (!recent_.empty() && older_.top() > recent_.top())) {
            return recent_;
        }
        return older_;
    }

    Heap recent_;
    Heap older_;
};

}  // namespace kvnode

// Expiry deadlines: hints that the sweeper checks against the heads and fields. Two min-heaps: what was filed
// before the running checkpoint began is covered by rows in LevelDB when it ends, and goes then.
#pragma once
#include <cstdint>
#include <utility>

#include "blocks.hpp"

namespace kvnode {

struct Deadline {
    uint64_t at_ms;
    uint64_t owner;     // generation of a head, collection id of a field: both from one counter
    uint64_t hash;
};

// A binary min-heap that does not copy itself when it grows.
class DeadlineHeap {
  public:
    bool empty() const { return items_.empty(); }
    size_t size() const { return items_.size(); }
    const Deadline& top() const { return items_[0]; }
    void swap(DeadlineHeap& other) { items_.swap(other.items_); }
    void clear() { items_.clear(); }

    void push(const Deadline& deadline) {
        size_t at = items_.size();
        items_.push_back(deadline);
        while (at > 0 && items_[(at - 1) / 2].at_ms > deadline.at_ms) {
            items_[at] = items_[(at - 1) / 2];
            at = (at - 1) / 2;
        }
        items_[at] = deadline;
    }

    void pop() {
        Deadline last = items_.back();
        size_t at = 0;
        items_.pop_back();
        if (items_.empty()) {
            return;
        }
        while (2 * at + 1 < items_.size()) {
            size_t least = 2 * at + 1;
            if (least + 1 < items_.size() && items_[least + 1].at_ms < items_[least].at_ms) {
                least++;
            }
            if (items_[least].at_ms >= last.at_ms) {
                break;
            }
            items_[at] = items_[least];
            at = least;
        }
        items_[at] = last;
    }

  private:
    Blocks<Deadline> items_;
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
    Deadline top() const { return is_older() ? older_.top() : recent_.top(); }
    void pop() { is_older() ? older_.pop() : recent_.pop(); }
    size_t size() const { return recent_.size() + older_.size(); }

    // A checkpoint begins: all that was filed until now will have a row when it ends.
    void begin_checkpoint() {
        for (; !older_.empty(); older_.pop()) {
            recent_.push(older_.top());
        }
        recent_.swap(older_);
    }
    void end_checkpoint() { older_.clear(); }

  private:
    bool is_older() const {
        return !older_.empty() && (recent_.empty() || older_.top().at_ms <= recent_.top().at_ms);
    }

    DeadlineHeap recent_;
    DeadlineHeap older_;
};

}  // namespace kvnode

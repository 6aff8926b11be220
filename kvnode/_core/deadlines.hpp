// A min-heap of expiry deadlines: hints that the sweeper checks against the heads.
#pragma once
#include <cstdint>
#include <functional>
#include <queue>
#include <vector>

namespace kvnode {

struct Deadline {
    uint64_t at_ms;
    uint64_t generation;
    uint64_t hash;
    bool operator>(const Deadline &other) const { return at_ms > other.at_ms; }
};

class Deadlines {
  public:
    void push(uint64_t at_ms, uint64_t generation, uint64_t hash) {
        heap_.push(Deadline{at_ms, generation, hash});
    }
    bool due(uint64_t now_ms) const { return !heap_.empty() && heap_.top().at_ms <= now_ms; }
    Deadline top() const { return heap_.top(); }
    void pop() { heap_.pop(); }
    size_t size() const { return heap_.size(); }

  private:
    std::priority_queue<Deadline, std::vector<Deadline>, std::greater<Deadline>> heap_;
};

}  // namespace kvnode

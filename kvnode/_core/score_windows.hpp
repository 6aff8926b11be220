// Which parts of a sorted set's order are complete in memory, while the set as a whole is not.
//
// A bound is (order, name), as in order_tree.hpp. A window [low, high) says: every member in it is in
// memory. What is outside of all windows is not known.
//
// Invariants (check() verifies them)
//   1. Windows are not empty, and ascend: each begins above the end of the one before.
//   2. There are at most kMax: as many commands find what was read for them, each somewhere else.
//      Their names take at most kNamesBytes, unless there are no more than kMin.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace kvnode {

struct OrderBound {
    uint64_t order;
    std::string name;

    OrderBound() : order(0) {}
    explicit OrderBound(uint64_t o) : order(o) {}
    OrderBound(uint64_t o, const char *data, size_t n) : order(o), name(data, n) {}

    // No double has the order 0 or the highest one, so these lie outside of all members.
    static OrderBound bottom() { return OrderBound(0); }
    static OrderBound top() { return OrderBound(UINT64_MAX); }
    bool is_bottom() const { return order == 0; }
    bool is_top() const { return order == UINT64_MAX; }

    // The lowest bound above this one.
    OrderBound next() const {
        OrderBound above(*this);
        above.name.push_back('\0');
        return above;
    }

    int compare(const OrderBound &other) const {
        if (order != other.order) return order < other.order ? -1 : 1;
        return name.compare(other.name);
    }
    bool operator<(const OrderBound &other) const { return compare(other) < 0; }
    bool operator<=(const OrderBound &other) const { return compare(other) <= 0; }
};

struct ScoreWindow {
    OrderBound low, high;
    uint64_t used;      // the later, the higher
};

class ScoreWindows {
  public:
    static constexpr size_t kMin = 16, kMax = 128;
    static constexpr size_t kNamesBytes = 64 << 10;

    uint64_t searched = 0;      // how often something of the order had to be read

    size_t size() const { return windows_.size(); }
    const ScoreWindow &at(size_t i) const { return windows_[i]; }
    bool is_whole() const {
        return windows_.size() == 1 && windows_[0].low.is_bottom() && windows_[0].high.is_top();
    }

    // The window with low <= bound < high, -1: none.
    int holding(const OrderBound &bound) const {
        size_t i = above([&](const ScoreWindow &window) { return window.low <= bound; });
        return i > 0 && bound < windows_[i - 1].high ? static_cast<int>(i - 1) : -1;
    }

    // The window with low < bound <= high: it has what lies just below the bound. -1: none.
    int ending(const OrderBound &bound) const {
        size_t i = above([&](const ScoreWindow &window) { return window.low < bound; });
        return i > 0 && bound <= windows_[i - 1].high ? static_cast<int>(i - 1) : -1;
    }

    void touch(size_t i) { windows_[i].used = ++clock_; }

    // All members of [low, high) are in memory. Of too many windows the one used longest ago goes.
    void add(const OrderBound &low, const OrderBound &high) {
        if (!(low < high)) return;
        ScoreWindow added{low, high, ++clock_};
        size_t first = above([&](const ScoreWindow &window) { return window.high < low; });
        size_t end = first;
        for (; end < windows_.size() && windows_[end].low <= high; end++) {
            if (windows_[end].low < added.low) added.low = windows_[end].low;
            if (added.high < windows_[end].high) added.high = windows_[end].high;
        }
        windows_.erase(windows_.begin() + first, windows_.begin() + end);
        windows_.insert(windows_.begin() + first, added);
        drop_oldest();
    }

    // A member leaves memory: no window holds its place any more.
    void cut(uint64_t order, const char *data, size_t n) {
        OrderBound place(order, data, n);
        int i = holding(place);
        if (i < 0) return;
        ScoreWindow upper{place.next(), windows_[i].high, windows_[i].used};
        bool has_lower = windows_[i].low < place;
        if (has_lower) windows_[i].high = place;
        else windows_.erase(windows_.begin() + i);
        if (upper.low < upper.high) windows_.insert(windows_.begin() + i + has_lower, upper);
        drop_oldest();
    }

    void clear() { windows_.clear(); }

    // nullptr, or which invariant is broken.
    const char *check() const {
        if (is_full()) return "2: too many windows";
        for (size_t i = 0; i < windows_.size(); i++) {
            if (!(windows_[i].low < windows_[i].high)) return "1: a window is empty";
            if (i > 0 && !(windows_[i - 1].high < windows_[i].low)) return "1: windows do not ascend";
        }
        return nullptr;
    }

  private:
    // The first window for which `below` is false, as for all that follow.
    template <class Below>
    size_t above(Below below) const {
        return std::partition_point(windows_.begin(), windows_.end(), below) - windows_.begin();
    }

    // Of equally old ones, halves of one window, the middle goes before what touches an end.
    void drop_oldest() {
        while (is_full()) {
            size_t oldest = 0;
            for (size_t i = 1; i < windows_.size(); i++)
                if (rank(windows_[i]) < rank(windows_[oldest])) oldest = i;
            windows_.erase(windows_.begin() + oldest);
        }
    }
    bool is_full() const {
        if (windows_.size() <= kMin) return false;
        size_t bytes = 0;
        for (const ScoreWindow &window : windows_)
            bytes += window.low.name.size() + window.high.name.size();
        return windows_.size() > kMax || bytes > kNamesBytes;
    }
    static uint64_t rank(const ScoreWindow &window) {
        return 2 * window.used + (window.low.is_bottom() || window.high.is_top());
    }

    std::vector<ScoreWindow> windows_;
    uint64_t clock_ = 0;
};

}  // namespace kvnode

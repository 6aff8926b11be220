// What SORT sorts: elements with their weights, and the order that it puts them in.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string>
#include <vector>

namespace kvnode {

struct SortItem {
    const char* data = nullptr;     // the element; stays in memory for the command
    size_t length = 0;
    double score = 0;               // without ALPHA
    bool is_weighed = false;        // BY found something
    std::string weight;             // of ALPHA with BY
};

inline int compare_bytes(const char* a, size_t n, const char* b, size_t m) {
    int order = memcmp(a, b, std::min(n, m));
    return order ? order : (n > m) - (n < m);
}

inline int compare_items(const SortItem& a, const SortItem& b, bool alpha, bool by) {
    if (alpha && by) {
        if (!a.is_weighed || !b.is_weighed) {
            return int(a.is_weighed) - int(b.is_weighed);
        }
        return compare_bytes(a.weight.data(), a.weight.size(), b.weight.data(), b.weight.size());
    }
    if (!alpha && a.score != b.score) {
        return a.score > b.score ? 1 : -1;
    }
    return compare_bytes(a.data, a.length, b.data, b.length);
}

inline void sort_items(std::vector<SortItem>& items, bool alpha, bool by, bool descending) {
    std::stable_sort(items.begin(), items.end(), [=](const SortItem& a, const SortItem& b) {
        int order = compare_items(a, b, alpha, by);
        return descending ? order > 0 : order < 0;
    });
}

}  // namespace kvnode

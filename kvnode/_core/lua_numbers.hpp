// Doubles as integers of C, out of range too: C defines nothing there, scripts see what compilers
// for x86-64 make of it.
#pragma once

#include <climits>

#include "lua_api.hpp"

namespace kvnode {

inline int lua_number_to_int(lua_Number n) {
    return n > -2147483649.0 && n < 2147483648.0 ? int(n) : INT_MIN;
}

inline long lua_number_to_long(lua_Number n) {
    return n >= -9223372036854775808.0 && n < 9223372036854775808.0 ? long(n) : LONG_MIN;
}

inline unsigned long lua_number_to_ulong(lua_Number n) {
    if (n >= 9223372036854775808.0)
        return (unsigned long)(lua_number_to_long(n - 9223372036854775808.0)) ^ (1ul << 63);
    return (unsigned long)(lua_number_to_long(n));
}

}  // namespace kvnode

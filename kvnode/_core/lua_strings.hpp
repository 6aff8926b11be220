// The functions of Lua's string library that ours replace, besides those with patterns.
#pragma once

#include <climits>
#include <cstdio>

#include "lua_numbers.hpp"
#include "lua_patterns.hpp"

namespace kvnode {

constexpr size_t kStringBytesMax = size_t(1) << 31;     // what string.rep may make

inline int string_byte(lua_State* L) {
    size_t n;
    const char* text = luaL_checklstring(L, 1, &n);
    lua_Integer given = luaL_optinteger(L, 2, 1);
    size_t first = lua_position(given, n);
    size_t last = lua_position(luaL_optinteger(L, 3, lua_Integer(first)), n);
    if (first == 0)
        first = 1;
    if (last > n)
        last = n;
    if (first > last)
        return 0;
    size_t count = last - first + 1;
    if (count >= INT_MAX)
        luaL_error(L, "string slice too long");
    luaL_checkstack(L, int(count), "string slice too long");
    lua_spend(L, count);
    for (size_t i = 0; i < count; i++)
        lua_pushinteger(L, static_cast<unsigned char>(text[first - 1 + i]));
    return int(count);
}

inline int string_rep(lua_State* L) {
    size_t n;
    const char* text = luaL_checklstring(L, 1, &n);
    int times = int(luaL_checkinteger(L, 2));
    if (times <= 0 || n == 0) {
        lua_pushlstring(L, "", 0);
        return 1;
    }
    if (n > kStringBytesMax / size_t(times))
        return luaL_error(L, "resulting string too large");
    size_t total = n * size_t(times);
    lua_spend(L, 1 + total / kBytesPerStep);
    LuaBuffer out(L);
    char* at = out.room(total);
    if (n == 1)
        memset(at, text[0], total);
    else
        for (size_t i = 0; i < total; i += n)
            memcpy(at + i, text, n);
    out.add(total);
    out.push();
    return 1;
}

inline int string_dump(lua_State* L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    return luaL_error(L, "unable to dump given function");
}

inline void format_put_quoted(lua_State* L, LuaBuffer& out, int arg) {
    size_t n;
    const char* text = luaL_checklstring(L, arg, &n);
    lua_spend(L, n / 8);
    out.put('"');
    for (size_t i = 0; i < n; i++) {
        switch (text[i]) {
        case '"':
        case '\\':
        case '\n':
            out.put('\\');
            out.put(text[i]);
            break;
        case '\r':
            out.put("\\r", 2);
            break;
        case '\0':
            out.put("\\000", 4);
            break;
        default:
            out.put(text[i]);
        }
    }
    out.put('"');
}

constexpr size_t kFormatItemMax = 32;           // '%', flags, width, precision, 'l', conversion

// Copy the specification behind '%' at `at` into `item`, return its conversion character's place.
inline const char* format_scan(lua_State* L, const char* at, char (&item)[kFormatItemMax]) {
    static const char flags[] = "-+ #0";
    const char* p = at;
    while (*p != '\0' && strchr(flags, *p) != nullptr)
        p++;
    if (size_t(p - at) >= sizeof flags)
        luaL_error(L, "invalid format (repeated flags)");
    auto digits = [&p] {
        for (int i = 0; i < 2 && isdigit(static_cast<unsigned char>(*p)); i++)
            p++;
    };
    digits();
    if (*p == '.') {
        p++;
        digits();
    }
    if (isdigit(static_cast<unsigned char>(*p)))
        luaL_error(L, "invalid format (width or precision too long)");
    item[0] = '%';
    size_t n = size_t(p - at) + 1;
    memcpy(item + 1, at, n);
    item[n + 1] = '\0';
    return p;
}

// Make "%5d" a "%5ld".
inline void format_lengthen(char (&item)[kFormatItemMax]) {
    size_t n = strlen(item);
    item[n] = item[n - 1];
    item[n - 1] = 'l';
    item[n + 1] = '\0';
}

inline int string_format(lua_State* L) {
    int top = lua_gettop(L);
    int arg = 1;
    size_t format_n;
    const char* at = luaL_checklstring(L, 1, &format_n);
    const char* end = at + format_n;
    LuaBuffer out(L);
    LuaTally tally{L};
    while (at < end) {
        tally.step();
        if (*at != '%') {
            out.put(*at++);
            continue;
        }
        if (*++at == '%') {
            out.put(*at++);
            continue;
        }
        if (++arg > top)
            luaL_argerror(L, arg, "no value");
        char item[kFormatItemMax];
        char text[512];                         // "%99.99f" of the largest double is 409 long
        at = format_scan(L, at, item);
        char conversion = *at++;
        switch (conversion) {
        case 'c':
            snprintf(text, sizeof text, item, lua_number_to_int(luaL_checknumber(L, arg)));
            break;
        case 'd':
        case 'i':
            format_lengthen(item);
            snprintf(text, sizeof text, item, lua_number_to_long(luaL_checknumber(L, arg)));
            break;
        case 'o':
        case 'u':
        case 'x':
        case 'X':
            format_lengthen(item);
            snprintf(text, sizeof text, item, lua_number_to_ulong(luaL_checknumber(L, arg)));
            break;
        case 'e':
        case 'E':
        case 'f':
        case 'g':
        case 'G':
            snprintf(text, sizeof text, item, luaL_checknumber(L, arg));
            break;
        case 'q':
            format_put_quoted(L, out, arg);
            continue;
        case 's': {
            size_t n;
            const char* s = luaL_checklstring(L, arg, &n);
            if (strchr(item, '.') == nullptr && n >= 100) {
                out.put(s, n);                  // longer than any width
                continue;
            }
            snprintf(text, sizeof text, item, s);
            break;
        }
        default:
            return luaL_error(L, "invalid option '%%%c' to 'format'", conversion);
        }
        out.put(text, strlen(text));
    }
    tally.pay();
    out.push();
    return 1;
}

// Set ours into the library at the top. Raises when memory is out.
inline void lua_open_strings(lua_State* L) {
    static const LuaFunction functions[] = {
        {"find", string_find},     {"match", string_match}, {"gmatch", string_gmatch},
        {"gsub", string_gsub},     {"byte", string_byte},   {"rep", string_rep},
        {"format", string_format}, {"dump", string_dump},
    };
    lua_set_functions(L, functions);
    lua_getfield(L, -1, "gmatch");
    lua_setfield(L, -2, "gfind");
}

}  // namespace kvnode

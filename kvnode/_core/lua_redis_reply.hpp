// Replies of commands as values of Lua, and values of Lua as replies.
#pragma once

#include <charconv>
#include <cstdlib>
#include <cstring>

#include "lua_libraries.hpp"
#include "numbers.hpp"

namespace kvnode {

struct LuaSlice {                               // laid out as Slice of bytes.pxd
    const char* data;
    size_t len;
};

// Bytes of a reply. Outlives errors of Lua: it belongs to the host, not to a frame.
struct LuaOutput {
    char* data = nullptr;
    size_t len = 0;
    size_t capacity = 0;
    int proto = 2;                              // of the client
    uint64_t errors = 0;                        // replies that count as errors
    size_t error_at = 0;                        // where the last of them begins

    LuaOutput() {}
    LuaOutput(const LuaOutput&) = delete;
    ~LuaOutput() { free(data); }

    void clear(int client_proto) {
        len = 0;
        errors = 0;
        proto = client_proto;
    }
    // Give back what one long reply took.
    void shrink(size_t most) {
        if (capacity > most) {
            free(data);
            data = nullptr;
            len = capacity = 0;
        }
    }
};

// Make room for n bytes in what may take as much memory as the script itself. Raises.
inline char* redis_room(lua_State* L, LuaOutput* out, size_t n) {
    LuaControl* c = lua_control(L);
    if (out->capacity - out->len < n) {
        size_t capacity = out->len + n > 2 * out->capacity ? out->len + n : 2 * out->capacity;
        if (capacity < 512)
            capacity = 512;
        void* moved = capacity > c->memory_cap ? nullptr : realloc(out->data, capacity);
        if (moved == nullptr) {
            c->stopped = kLuaOutOfMemory;
            lua_raise_stop(L, c);
        }
        out->data = static_cast<char*>(moved);
        out->capacity = capacity;
    }
    return out->data + out->len;
}

inline void redis_put(lua_State* L, LuaOutput* out, const char* bytes, size_t n) {
    if (n >= kLargeBlock)
        lua_spend(L, n / kBytesPerStep);
    memcpy(redis_room(L, out, n), bytes, n);
    out->len += n;
}

inline void redis_put_prefix(lua_State* L, LuaOutput* out, char kind, long long n) {
    char* first = redis_room(L, out, 32);
    char* p = first;
    *p++ = kind;
    p = std::to_chars(p, first + 30, n).ptr;
    *p++ = '\r';
    *p++ = '\n';
    out->len += size_t(p - first);
}

inline void redis_put_bulk(lua_State* L, LuaOutput* out, const char* bytes, size_t n) {
    redis_put_prefix(L, out, '$', (long long)n);
    char* p = redis_room(L, out, n + 2);
    if (n >= kLargeBlock)
        lua_spend(L, n / kBytesPerStep);
    memcpy(p, bytes, n);
    p[n] = '\r';
    p[n + 1] = '\n';
    out->len += n + 2;
}

// A line: CR and LF in it become blanks.
inline void redis_put_line(lua_State* L, LuaOutput* out, char kind, const char* bytes, size_t n) {
    redis_put(L, out, &kind, 1);
    size_t at = out->len;
    redis_put(L, out, bytes, n);
    for (; at < out->len; at++)
        if (out->data[at] == '\r' || out->data[at] == '\n')
            out->data[at] = ' ';
    redis_put(L, out, "\r\n", 2);
}

inline void redis_put_null(lua_State* L, LuaOutput* out) {
    if (out->proto == 2)
        redis_put(L, out, "$-1\r\n", 5);
    else
        redis_put(L, out, "_\r\n", 3);
}

inline void redis_put_double(lua_State* L, LuaOutput* out, double value) {
    char text[DOUBLE_BYTES_MAX];
    size_t n = format_double(text, value);
    if (out->proto == 2) {
        redis_put_bulk(L, out, text, n);
        return;
    }
    redis_put(L, out, ",", 1);
    redis_put(L, out, text, n);
    redis_put(L, out, "\r\n", 2);
}

inline void redis_put_big_number(lua_State* L, LuaOutput* out, const char* bytes, size_t n) {
    if (out->proto == 2) {
        redis_put_prefix(L, out, '$', (long long)n);
        size_t at = out->len;
        redis_put(L, out, bytes, n);
        for (; at < out->len; at++)
            if (out->data[at] == '\r' || out->data[at] == '\n')
                out->data[at] = ' ';
        redis_put(L, out, "\r\n", 2);
    } else {
        redis_put_line(L, out, '(', bytes, n);
    }
}

inline void redis_put_error(lua_State* L, LuaOutput* out, const char* bytes, size_t n, bool counts) {
    if (counts) {
        out->errors++;
        out->error_at = out->len;
    }
    redis_put_line(L, out, '-', bytes, n);
}

// Push the field of the table at the top, without metamethods.
inline int redis_field(lua_State* L, const char* name) {
    lua_pushstring(L, name);
    lua_rawget(L, -2);
    return lua_type(L, -1);
}

inline void redis_write_value(lua_State* L, LuaOutput* out, int resp, int depth);

// The table at the top, whose field at the top of it has pairs. Pops the field.
inline void redis_write_pairs(lua_State* L, LuaOutput* out, int resp, int depth, bool is_map) {
    long long n = 0;
    lua_resolve_at(L, lua_gettop(L));
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        lua_spend(L, 1);
        n++;
    }
    if (is_map && out->proto == 2)
        redis_put_prefix(L, out, '*', 2 * n);
    else if (is_map)
        redis_put_prefix(L, out, '%', n);
    else
        redis_put_prefix(L, out, out->proto == 2 ? '*' : '~', n);
    for (lua_pushnil(L); lua_next(L, -2);) {
        lua_pushvalue(L, -2);
        redis_write_value(L, out, resp, depth + 1);     // the key
        if (is_map)
            redis_write_value(L, out, resp, depth + 1);
        else
            lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

// {verbatim_string = {format =, string =}}: false if the field at the top is none; nothing is popped.
inline bool redis_write_verbatim(lua_State* L, LuaOutput* out) {
    if (redis_field(L, "format") != LUA_TSTRING) {
        lua_pop(L, 1);
        return false;
    }
    size_t format_bytes;
    const char* format = lua_tolstring(L, -1, &format_bytes);
    lua_insert(L, -2);
    bool has_text = redis_field(L, "string") == LUA_TSTRING;
    if (has_text) {
        size_t n;
        const char* text = lua_tolstring(L, -1, &n);
        if (out->proto == 2) {
            redis_put_bulk(L, out, text, n);
        } else {
            char kind[4] = {' ', ' ', ' ', ':'};
            memcpy(kind, format, format_bytes < 3 ? format_bytes : 3);
            redis_put_prefix(L, out, '=', (long long)n + 4);
            redis_put(L, out, kind, 4);
            redis_put(L, out, text, n);
            redis_put(L, out, "\r\n", 2);
        }
    }
    lua_pop(L, 1);
    lua_remove(L, -2);
    return has_text;
}

inline void redis_write_array(lua_State* L, LuaOutput* out, int resp, int depth) {
    // How long it is, is known only at its end: nil ends it.
    long long n = 0;
    for (;; n++) {
        lua_rawgeti(L, -1, int(n) + 1);
        bool is_end = lua_type(L, -1) == LUA_TNIL;
        lua_pop(L, 1);
        if (is_end)
            break;
        lua_spend(L, 1);
    }
    redis_put_prefix(L, out, '*', n);
    for (long long i = 1; i <= n; i++) {
        lua_rawgeti(L, -1, int(i));
        redis_write_value(L, out, resp, depth + 1);
    }
}

inline void redis_write_table(lua_State* L, LuaOutput* out, int resp, int depth) {
    size_t n;
    lua_resolve_at(L, lua_gettop(L));
    if (redis_field(L, "err") == LUA_TSTRING) {
        const char* text = lua_tolstring(L, -1, &n);
        lua_insert(L, -2);
        bool is_counted = redis_field(L, "ignore_error_stats_update") == LUA_TBOOLEAN &&
                          lua_toboolean(L, -1);
        redis_put_error(L, out, text, n, !is_counted);
        lua_pop(L, 2);
        return;
    }
    lua_pop(L, 1);
    if (redis_field(L, "ok") == LUA_TSTRING) {
        const char* text = lua_tolstring(L, -1, &n);
        redis_put_line(L, out, '+', text, n);
        lua_pop(L, 1);
        return;
    }
    lua_pop(L, 1);
    if (redis_field(L, "double") == LUA_TNUMBER) {
        redis_put_double(L, out, lua_tonumber(L, -1));
        lua_pop(L, 1);
        return;
    }
    lua_pop(L, 1);
    if (redis_field(L, "map") == LUA_TTABLE) {
        redis_write_pairs(L, out, resp, depth, true);
        return;
    }
    lua_pop(L, 1);
    if (redis_field(L, "set") == LUA_TTABLE) {
        redis_write_pairs(L, out, resp, depth, false);
        return;
    }
    lua_pop(L, 1);
    if (redis_field(L, "big_number") == LUA_TSTRING) {
        const char* text = lua_tolstring(L, -1, &n);
        redis_put_big_number(L, out, text, n);
        lua_pop(L, 1);
        return;
    }
    lua_pop(L, 1);
    if (redis_field(L, "verbatim_string") == LUA_TTABLE && redis_write_verbatim(L, out)) {
        lua_pop(L, 1);
        return;
    }
    lua_pop(L, 1);
    redis_write_array(L, out, resp, depth);
}

// Write the value at the top as a reply, and pop it. Raises.
inline void redis_write_value(lua_State* L, LuaOutput* out, int resp, int depth) {
    constexpr int kDepthMax = 1994;             // where Redis runs into the limit of Lua's stack
    size_t n;
    lua_spend(L, 4);
    if (depth > kDepthMax || !lua_checkstack(L, 6)) {
        redis_put_error(L, out, "ERR reached lua stack limit", 27, true);
        lua_pop(L, 1);
        return;
    }
    switch (lua_type(L, -1)) {
    case LUA_TSTRING: {
        const char* text = lua_tolstring(L, -1, &n);
        redis_put_bulk(L, out, text, n);
        break;
    }
    case LUA_TBOOLEAN:
        if (resp >= 3 && out->proto >= 3)
            redis_put(L, out, lua_toboolean(L, -1) ? "#t\r\n" : "#f\r\n", 4);
        else if (resp >= 3)
            redis_put(L, out, lua_toboolean(L, -1) ? ":1\r\n" : ":0\r\n", 4);
        else if (lua_toboolean(L, -1))
            redis_put(L, out, ":1\r\n", 4);
        else
            redis_put_null(L, out);
        break;
    case LUA_TNUMBER: {
        double number = lua_tonumber(L, -1);
        bool fits = number >= -9223372036854775808.0 && number < 9223372036854775808.0;
        redis_put_prefix(L, out, ':', fits ? (long long)number : INT64_MIN);
        break;
    }
    case LUA_TTABLE:
        redis_write_table(L, out, resp, depth);
        break;
    default:
        redis_put_null(L, out);
    }
    lua_pop(L, 1);
}

// -- replies of commands ------------------------------------------------------------------------

// Read the number of a prefix; returns what follows its line.
inline const char* redis_read_number(const char* p, long long* n) {
    bool is_negative = *p == '-';
    unsigned long long value = 0;
    for (p += is_negative; *p != '\r'; p++)
        value = value * 10 + (unsigned long long)(*p - '0');
    *n = (long long)(is_negative ? 0 - value : value);
    return p + 2;
}

// Push a line as the field of a new table; returns what follows it.
inline const char* redis_push_line(lua_State* L, const char* p, const char* field) {
    const char* end = strchr(p, '\r');
    lua_createtable(L, 0, 1);
    lua_pushlstring(L, p, size_t(end - p));
    lua_setfield(L, -2, field);
    return end + 2;
}

// Push the reply at p, which is complete; returns what follows it. Raises when memory is out.
inline const char* redis_push_reply(lua_State* L, const char* p) {
    long long n;
    luaL_checkstack(L, 6, "reply");
    switch (*p++) {
    case '$':
        p = redis_read_number(p, &n);
        if (n < 0) {
            lua_pushboolean(L, 0);
            return p;
        }
        lua_pushlstring(L, p, size_t(n));
        return p + n + 2;
    case ':':
        p = redis_read_number(p, &n);
        lua_pushnumber(L, lua_Number(n));
        return p;
    case '+':
        return redis_push_line(L, p, "ok");
    case '-':
        p = redis_push_line(L, p, "err");
        lua_pushboolean(L, 1);
        lua_setfield(L, -2, "ignore_error_stats_update");
        return p;
    case '*':
    case '>':
        p = redis_read_number(p, &n);
        if (n < 0) {
            lua_pushboolean(L, 0);
            return p;
        }
        lua_createtable(L, int(n), 0);
        for (long long i = 1; i <= n; i++) {
            p = redis_push_reply(L, p);
            lua_rawseti(L, -2, int(i));
        }
        return p;
    case '_':
        lua_pushnil(L);
        return p + 2;
    case '#':
        lua_pushboolean(L, *p == 't');
        return p + 3;
    case ',':
        lua_createtable(L, 0, 1);
        lua_pushnumber(L, strtod(p, nullptr));
        lua_setfield(L, -2, "double");
        return strchr(p, '\r') + 2;
    case '(':
        return redis_push_line(L, p, "big_number");
    case '=':
        p = redis_read_number(p, &n);
        lua_createtable(L, 0, 1);
        lua_createtable(L, 0, 2);
        lua_pushlstring(L, p, 3);
        lua_setfield(L, -2, "format");
        lua_pushlstring(L, p + 4, size_t(n - 4));
        lua_setfield(L, -2, "string");
        lua_setfield(L, -2, "verbatim_string");
        return p + n + 2;
    case '%':
    case '~': {
        bool is_map = p[-1] == '%';
        p = redis_read_number(p, &n);
        lua_createtable(L, 0, 1);
        lua_createtable(L, 0, int(n));
        for (long long i = 0; i < n; i++) {
            p = redis_push_reply(L, p);
            if (is_map)
                p = redis_push_reply(L, p);
            else
                lua_pushboolean(L, 1);
            lua_rawset(L, -3);
        }
        lua_setfield(L, -2, is_map ? "map" : "set");
        return p;
    }
    default:
        luaL_error(L, "a command has answered nothing");
        return p;
    }
}

}  // namespace kvnode

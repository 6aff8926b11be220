// Lua 5.1's patterns: find, match, gmatch and gsub, with steps charged and a bound on the recursion.
//
// Lua's own matcher runs in C for as long as it takes, which no hook interrupts, and recurses as deep
// as the pattern is long. A pattern ends at its first zero byte, as in 5.1. The rules follow lstrlib.c of
// Lua 5.1 (Copyright (C) 1994-2012 Lua.org, PUC-Rio; MIT licence).
#pragma once

#include <cctype>
#include <cstring>

#include "lua_buffer.hpp"

namespace kvnode {

constexpr int kCapturesMax = 32;
// Items of a pattern with a repetition or a capture that may be open in one match.
constexpr int kMatchDepthMax = 2000;

constexpr ptrdiff_t kCaptureOpen = -1;
constexpr ptrdiff_t kCapturePosition = -2;

inline size_t lua_position(ptrdiff_t position, size_t n) {
    if (position < 0)
        position += ptrdiff_t(n) + 1;
    return position >= 0 ? size_t(position) : 0;
}

class LuaMatcher {
  public:
    LuaMatcher(lua_State* L, const char* text, size_t n)
        : L_(L), tally_{L}, begin_(text), end_(text + n) {}

    const char* end() const { return end_; }

    // Return the end of the match of `pattern` at `at`, or null. Raises.
    const char* match_at(const char* at, const char* pattern) {
        level_ = 0;
        depth_ = 0;
        tally_.step();
        return match(at, pattern);
    }

    // Push all captures, or the whole match [from, to) if there are none and `from` is given.
    int push_captures(const char* from, const char* to) {
        int n = level_ == 0 && from != nullptr ? 1 : level_;
        luaL_checkstack(L_, n, "too many captures");
        for (int i = 0; i < n; i++)
            push_capture(i, from, to);
        return n;
    }

    void push_capture(int i, const char* from, const char* to) {
        if (i >= level_) {
            if (i != 0)
                luaL_error(L_, "invalid capture index");
            lua_pushlstring(L_, from, size_t(to - from));
            return;
        }
        ptrdiff_t n = captures_[i].n;
        if (n == kCaptureOpen)
            luaL_error(L_, "unfinished capture");
        if (n == kCapturePosition)
            lua_pushinteger(L_, captures_[i].at - begin_ + 1);
        else
            lua_pushlstring(L_, captures_[i].at, size_t(n));
    }

    void pay() { tally_.pay(); }
    LuaTally& tally() { return tally_; }

  private:
    static bool in_class(int c, int name) {
        bool found;
        switch (tolower(name)) {
        case 'a': found = isalpha(c); break;
        case 'c': found = iscntrl(c); break;
        case 'd': found = isdigit(c); break;
        case 'l': found = islower(c); break;
        case 'p': found = ispunct(c); break;
        case 's': found = isspace(c); break;
        case 'u': found = isupper(c); break;
        case 'w': found = isalnum(c); break;
        case 'x': found = isxdigit(c); break;
        case 'z': found = c == 0; break;
        default: return name == c;
        }
        return isupper(name) ? !found : found;
    }

    // Whether c is in the set that begins with '[' at p and whose ']' is at `last`.
    bool in_set(int c, const char* p, const char* last) {
        bool found = true;
        if (p[1] == '^') {
            found = false;
            p++;
        }
        while (++p < last) {
            tally_.step();
            if (*p == '%') {
                p++;
                if (in_class(c, byte(p)))
                    return found;
            } else if (p[1] == '-' && p + 2 < last) {
                p += 2;
                if (byte(p - 2) <= c && c <= byte(p))
                    return found;
            } else if (byte(p) == c) {
                return found;
            }
        }
        return !found;
    }

    bool single(int c, const char* p, const char* item_end) {
        tally_.step();
        switch (*p) {
        case '.': return true;
        case '%': return in_class(c, byte(p + 1));
        case '[': return in_set(c, p, item_end - 1);
        default: return byte(p) == c;
        }
    }

    // Return where the single-character item at p ends.
    const char* item_end(const char* p) {
        switch (*p++) {
        case '%':
            if (*p == '\0')
                luaL_error(L_, "malformed pattern (ends with '%%')");
            return p + 1;
        case '[':
            if (*p == '^')
                p++;
            do {                                // a ']' right behind is a member
                tally_.step();
                if (*p == '\0')
                    luaL_error(L_, "malformed pattern (missing ']')");
                if (*p++ == '%' && *p != '\0')
                    p++;
            } while (*p != ']');
            return p + 1;
        default:
            return p;
        }
    }

    const char* balance(const char* s, const char* p) {
        if (p[0] == '\0' || p[1] == '\0')
            luaL_error(L_, "unbalanced pattern");
        if (*s != *p)                           // at the end of the text *s is its zero byte
            return nullptr;
        int open = p[0], close = p[1];
        ptrdiff_t nested = 1;
        while (++s < end_) {
            tally_.step();
            if (*s == close) {
                if (--nested == 0)
                    return s + 1;
            } else if (*s == open) {
                nested++;
            }
        }
        return nullptr;
    }

    const char* longest(const char* s, const char* p, const char* rest) {
        ptrdiff_t i = 0;
        while (s + i < end_ && single(byte(s + i), p, rest))
            i++;
        for (; i >= 0; i--) {
            tally_.step();
            if (const char* found = match(s + i, rest + 1))
                return found;
        }
        return nullptr;
    }

    const char* shortest(const char* s, const char* p, const char* rest) {
        for (;;) {
            if (const char* found = match(s, rest + 1))
                return found;
            if (s >= end_ || !single(byte(s), p, rest))
                return nullptr;
            s++;
        }
    }

    const char* open_capture(const char* s, const char* p, ptrdiff_t kind) {
        if (level_ >= kCapturesMax)
            luaL_error(L_, "too many captures");
        captures_[level_] = {s, kind};
        level_++;
        const char* found = match(s, p);
        if (found == nullptr)
            level_--;
        return found;
    }

    const char* close_capture(const char* s, const char* p) {
        int i = level_;
        while (--i >= 0 && captures_[i].n != kCaptureOpen) {
        }
        if (i < 0)
            luaL_error(L_, "invalid pattern capture");
        captures_[i].n = s - captures_[i].at;
        const char* found = match(s, p);
        if (found == nullptr)
            captures_[i].n = kCaptureOpen;
        return found;
    }

    const char* captured(const char* s, int digit) {
        int i = digit - '1';
        if (i < 0 || i >= level_ || captures_[i].n == kCaptureOpen)
            luaL_error(L_, "invalid capture index");
        ptrdiff_t n = captures_[i].n;
        if (n < 0 || end_ - s < n)              // a position matches nothing
            return nullptr;
        for (ptrdiff_t done = 0; done < n; done += 256)
            tally_.step();
        return memcmp(captures_[i].at, s, size_t(n)) == 0 ? s + n : nullptr;
    }

    const char* match(const char* s, const char* p) {
        if (++depth_ > kMatchDepthMax)
            luaL_error(L_, "pattern too complex");
        const char* found = match_items(s, p);
        depth_--;
        return found;
    }

    const char* match_items(const char* s, const char* p) {
        for (;;) {
            switch (*p) {
            case '\0':
                return s;
            case '(':
                return p[1] == ')' ? open_capture(s, p + 2, kCapturePosition)
                                   : open_capture(s, p + 1, kCaptureOpen);
            case ')':
                return close_capture(s, p + 1);
            case '$':
                if (p[1] == '\0')
                    return s == end_ ? s : nullptr;
                break;
            case '%':
                if (p[1] == 'b') {
                    s = balance(s, p + 2);
                    if (s == nullptr)
                        return nullptr;
                    p += 4;
                    continue;
                }
                if (p[1] == 'f') {
                    p += 2;
                    if (*p != '[')
                        luaL_error(L_, "missing '[' after '%%f' in pattern");
                    const char* rest = item_end(p);
                    int before = s == begin_ ? 0 : byte(s - 1);
                    if (in_set(before, p, rest - 1) || !in_set(byte(s), p, rest - 1))
                        return nullptr;
                    p = rest;
                    continue;
                }
                if (isdigit(byte(p + 1))) {
                    s = captured(s, byte(p + 1));
                    if (s == nullptr)
                        return nullptr;
                    p += 2;
                    continue;
                }
                break;
            default:
                break;
            }
            const char* rest = item_end(p);
            bool fits = s < end_ && single(byte(s), p, rest);
            switch (*rest) {
            case '?':
                if (fits)
                    if (const char* found = match(s + 1, rest + 1))
                        return found;
                p = rest + 1;
                continue;
            case '*':
                return longest(s, p, rest);
            case '+':
                return fits ? longest(s + 1, p, rest) : nullptr;
            case '-':
                return shortest(s, p, rest);
            default:
                if (!fits)
                    return nullptr;
                s++;
                p = rest;
            }
        }
    }

    static int byte(const char* p) { return static_cast<unsigned char>(*p); }

    lua_State* L_;
    LuaTally tally_;
    const char* begin_;
    const char* end_;
    int depth_ = 0;
    int level_ = 0;
    struct {
        const char* at;
        ptrdiff_t n;
    } captures_[kCapturesMax];
};

inline int pattern_find(lua_State* L, bool find) {
    size_t n, pattern_n;
    const char* text = luaL_checklstring(L, 1, &n);
    const char* pattern = luaL_checklstring(L, 2, &pattern_n);
    size_t start = lua_position(luaL_optinteger(L, 3, 1), n);
    start = start == 0 ? 0 : start - 1;
    if (start > n)
        start = n;
    if (find && (lua_toboolean(L, 4) || strpbrk(pattern, "^$*+?.([%-") == nullptr)) {
        lua_spend(L, 1 + (n - start + pattern_n) / kBytesPerStep);
        const char* found = static_cast<const char*>(
            memmem(text + start, n - start, pattern, pattern_n));
        if (found != nullptr) {
            lua_pushinteger(L, found - text + 1);
            lua_pushinteger(L, found - text + ptrdiff_t(pattern_n));
            return 2;
        }
        lua_pushnil(L);
        return 1;
    }
    bool anchored = *pattern == '^';
    if (anchored)
        pattern++;
    LuaMatcher matcher(L, text, n);
    const char* at = text + start;
    do {
        const char* to = matcher.match_at(at, pattern);
        if (to != nullptr) {
            matcher.pay();
            if (!find)
                return matcher.push_captures(at, to);
            lua_pushinteger(L, at - text + 1);
            lua_pushinteger(L, to - text);
            return matcher.push_captures(nullptr, nullptr) + 2;
        }
    } while (at++ < matcher.end() && !anchored);
    matcher.pay();
    lua_pushnil(L);
    return 1;
}

inline int string_find(lua_State* L) { return pattern_find(L, true); }
inline int string_match(lua_State* L) { return pattern_find(L, false); }

// Upvalues: text, pattern, where to go on.
inline int string_gmatch_next(lua_State* L) {
    size_t n;
    const char* text = lua_tolstring(L, lua_upvalue_index(1), &n);
    const char* pattern = lua_tolstring(L, lua_upvalue_index(2), nullptr);
    LuaMatcher matcher(L, text, n);
    const char* at = text + lua_tointeger(L, lua_upvalue_index(3));
    for (; at <= matcher.end(); at++) {
        const char* to = matcher.match_at(at, pattern);
        if (to != nullptr) {
            matcher.pay();
            lua_pushinteger(L, to - text + (to == at ? 1 : 0));
            lua_replace(L, lua_upvalue_index(3));
            return matcher.push_captures(at, to);
        }
    }
    matcher.pay();
    return 0;
}

inline int string_gmatch(lua_State* L) {
    luaL_checklstring(L, 1, nullptr);
    luaL_checklstring(L, 2, nullptr);
    lua_settop(L, 2);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, string_gmatch_next, 3);
    return 1;
}

// Put what a replacement string makes of the match [from, to).
inline void gsub_put_text(lua_State* L, LuaMatcher& matcher, LuaBuffer& out, const char* from,
                          const char* to) {
    size_t n;
    const char* text = lua_tolstring(L, 3, &n);
    for (size_t i = 0; i < n; i++) {
        if (text[i] != '%') {
            matcher.tally().step();
            out.put(text[i]);
            continue;
        }
        i++;                                    // the last '%' of all yields the zero byte behind
        if (!isdigit(static_cast<unsigned char>(text[i]))) {
            out.put(text[i]);
        } else if (text[i] == '0') {
            out.put(from, size_t(to - from));
        } else {
            matcher.push_capture(text[i] - '1', from, to);
            size_t captured_n;
            const char* captured = lua_tolstring(L, -1, &captured_n);
            out.put(captured, captured_n);
            lua_pop(L, 1);
        }
    }
}

inline void gsub_put_value(lua_State* L, LuaMatcher& matcher, LuaBuffer& out, const char* from,
                           const char* to) {
    switch (lua_type(L, 3)) {
    case LUA_TTABLE:
        matcher.push_capture(0, from, to);
        lua_gettable(L, 3);
        break;
    case LUA_TFUNCTION:
        lua_pushvalue(L, 3);
        lua_call(L, matcher.push_captures(from, to), 1);
        break;
    default:
        gsub_put_text(L, matcher, out, from, to);
        return;
    }
    if (!lua_toboolean(L, -1)) {
        out.put(from, size_t(to - from));
    } else {
        if (!lua_isstring(L, -1))
            luaL_error(L, "invalid replacement value (a %s)", lua_typename_at(L, -1));
        size_t n;
        const char* value = lua_tolstring(L, -1, &n);
        out.put(value, n);
    }
    lua_pop(L, 1);
}

inline int string_gsub(lua_State* L) {
    size_t n;
    const char* text = luaL_checklstring(L, 1, &n);
    const char* pattern = luaL_checklstring(L, 2, nullptr);
    int type = lua_type(L, 3);
    bool anchored = *pattern == '^';
    if (anchored)
        pattern++;
    int most = int(luaL_optinteger(L, 4, lua_Integer(n) + 1));
    lua_argcheck(L,
                 type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION ||
                     type == LUA_TTABLE,
                 3, "string/function/table expected");
    LuaMatcher matcher(L, text, n);
    LuaBuffer out(L);
    int done = 0;
    const char* at = text;
    while (done < most) {
        const char* to = matcher.match_at(at, pattern);
        if (to != nullptr) {
            done++;
            gsub_put_value(L, matcher, out, at, to);
        }
        if (to != nullptr && to > at)
            at = to;
        else if (at < matcher.end())
            out.put(*at++);
        else
            break;
        if (anchored)
            break;
    }
    matcher.pay();
    out.put(at, size_t(matcher.end() - at));
    out.push();
    lua_pushinteger(L, done);
    return 2;
}

}  // namespace kvnode

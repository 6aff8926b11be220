# cython: boundscheck=False, wraparound=False
"""Commands on several sorted sets: ZUNION, ZINTER, ZDIFF, their STORE forms, ZINTERCARD.

Sets are inputs too, each member with the score 1. As in Redis the smallest input is folded first:
it decides how sums are rounded, and what becomes of infinite scores.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libcpp.algorithm cimport sort
from libcpp.pair cimport pair
from libcpp.vector cimport vector
from kvnode._core.arguments cimport (
    SYNTAX, any_missing, is_word, note_missing, refuse, require_i64)
from kvnode._core.blocks cimport Blocks
from kvnode._core.bytes cimport parse_i64
from kvnode._core.collection cimport (
    WRONG, Element, Walk, find_element, is_past_budget, need_beside, need_walk, next_of,
    open_collection, outcome_of, walk_all)
from kvnode._core.dispatch cimport DONE, PARK, native
from kvnode._core.numbers cimport parse_double
from kvnode._core.order_tree cimport OrderTree
from kvnode._core.parser cimport Args
from kvnode._core.reply cimport Reply, reply_integer
from kvnode._core.sortable cimport double_of_order, order_of_double
from kvnode._core.tip cimport T_SET, T_ZSET, Collection, Entry
from kvnode._core.view cimport (
    ABSENT, FOUND, L_NO_TOUCH, L_READ, MISS, STEPS_PER_WRITE, Head, View)
from kvnode._core.zset cimport (
    Position, reply_member, reply_members_head, score_of, store_result)

cdef extern from "name_set.hpp" namespace "kvnode" nogil:
    cdef cppclass NameSet:
        uint32_t number(uint64_t hash, const char* name, uint32_t length)

cdef enum:
    ERROR_BYTES_MAX = 96

cdef enum Operation:
    UNION = 0
    INTERSECTION = 1
    DIFFERENCE = 2
    CARDINALITY = 3             # of the intersection

cdef enum Aggregate:
    SUM = 0
    MIN = 1
    MAX = 2


cdef struct Input:
    Collection* c               # NULL: absent
    double weight


cdef struct Request:
    Operation operation
    Aggregate aggregate
    bint stored
    bint scores                 # WITHSCORES
    int64_t limit               # of ZINTERCARD


# -- arguments ----------------------------------------------------------------------------------

cdef int open_input(View view, const Args* args, int i, Collection** c, Reply reply) except -1:
    """Find a set or sorted set, NULL if it is absent; WRONG after an error reply."""
    cdef Head head
    cdef int found = view.lookup(args.v[i].data, args.v[i].len, L_READ, &head)
    c[0] = NULL
    if found != FOUND:
        return found
    return open_collection(view, &args.v[i], T_SET if head.version.type == T_SET else T_ZSET,
                           L_NO_TOUCH, &head, c, reply)


cdef int open_inputs(View view, Args* args, int numkeys, const char* name, Request* request,
                     vector[Input]* inputs, Reply reply) except -1:
    """Find the inputs that args[numkeys] counts: FOUND, MISS, or WRONG after an error reply."""
    cdef Args keys = args[0]
    cdef Input one
    cdef char line[ERROR_BYTES_MAX]
    cdef int64_t count
    cdef bint missing
    cdef int i
    if not require_i64(&args.v[numkeys], &count, reply):
        return WRONG
    if count < 1:
        snprintf(line, ERROR_BYTES_MAX, b"ERR at least 1 input key is needed for '%s' command", name)
        refuse(reply, line)
        return WRONG
    if count > args.n - numkeys - 1:
        refuse(reply, SYNTAX)
        return WRONG
    keys.n = numkeys + 1 + <int>count
    missing = any_missing(view, &keys, numkeys + 1, 1)
    if request.stored and note_missing(view, &args.v[1]) or missing:
        return MISS
    one.weight = 1
    for i in range(numkeys + 1, keys.n):
        if open_input(view, args, i, &one.c, reply) == WRONG:
            return WRONG
        inputs.push_back(one)
    return FOUND


cdef bint read_aggregate(const Args* args, int i, Request* request) noexcept:
    if is_word(&args.v[i], b"SUM"):
        request.aggregate = SUM
    elif is_word(&args.v[i], b"MIN"):
        request.aggregate = MIN
    elif is_word(&args.v[i], b"MAX"):
        request.aggregate = MAX
    else:
        return False
    return True


cdef bint read_options(const Args* args, int first, Request* request, vector[Input]* inputs,
                       Reply reply) except -1:
    """Read the options from argument `first` on; False after an error reply."""
    cdef bint weighted = request.operation <= INTERSECTION
    cdef int count = <int>inputs.size()
    cdef int i = first
    cdef int k
    while i < args.n:
        if weighted and i + count < args.n and is_word(&args.v[i], b"WEIGHTS"):
            for k in range(count):
                i += 1
                if not parse_double(args.v[i].data, args.v[i].len, &inputs[0][k].weight):
                    refuse(reply, b"ERR weight value is not a float")
                    return False
        elif weighted and i + 1 < args.n and is_word(&args.v[i], b"AGGREGATE") \
                and read_aggregate(args, i + 1, request):
            i += 1
        elif request.operation != CARDINALITY and not request.stored \
                and is_word(&args.v[i], b"WITHSCORES"):
            request.scores = True
        elif request.operation == CARDINALITY and i + 1 < args.n and is_word(&args.v[i], b"LIMIT"):
            i += 1
            if not parse_i64(args.v[i].data, args.v[i].len, &request.limit) or request.limit < 0:
                refuse(reply, b"ERR LIMIT can't be negative")
                return False
        else:
            refuse(reply, SYNTAX)
            return False
        i += 1
    return True


# -- combining ----------------------------------------------------------------------------------

cdef inline double number_or_zero(double value) noexcept nogil:
    """inf - inf, and 0 * inf, count as nothing."""
    return value if value == value else 0


cdef inline double weighed(const Input* one, const Entry* e) noexcept nogil:
    return number_or_zero(one.weight * (score_of(e.newest) if one.c.type == T_ZSET else 1))


cdef inline double folded(Aggregate aggregate, double a, double b) noexcept nogil:
    if aggregate == SUM:
        return number_or_zero(a + b)
    if aggregate == MIN:
        return min(a, b)
    return max(a, b)


cdef int sort_inputs(vector[Input]* inputs) except -1:
    """Put the smallest input first; equal ones stay in their order."""
    cdef vector[pair[int64_t, size_t]] sizes
    cdef vector[Input] sorted_inputs
    cdef size_t i
    for i in range(inputs.size()):
        sizes.push_back(pair[int64_t, size_t](
            inputs[0][i].c.meta.length if inputs[0][i].c != NULL else 0, i))
    sort(sizes.begin(), sizes.end())
    for i in range(sizes.size()):
        sorted_inputs.push_back(inputs[0][sizes[i].second])
    inputs.swap(sorted_inputs)
    return 0


cdef bint unite(View view, const Request* request, vector[Input]* inputs,
                OrderTree[Entry]* out) except -1:
    """Collect the members that any input has; False: PARK."""
    cdef NameSet met
    cdef Blocks[Entry*] entries         # by the numbers that `met` gives
    cdef Blocks[double] scores
    cdef Walk walk
    cdef Entry* e
    cdef size_t i
    cdef uint32_t number
    cdef bint missing = False
    for i in range(inputs.size()):
        if inputs[0][i].c != NULL and need_walk(view, inputs[0][i].c):
            missing = True
    if missing:
        return False
    for i in range(inputs.size()):
        if inputs[0][i].c == NULL:
            continue
        walk_all(view, inputs[0][i].c, &walk)
        e = next_of(view, &walk)
        while e != NULL:
            number = met.number(e.hash, e.key, e.key_len)
            if number == entries.size():
                entries.push_back(e)
                scores.push_back(weighed(&inputs[0][i], e))
            else:
                scores[number] = folded(
                    request.aggregate, scores[number], weighed(&inputs[0][i], e))
            e = next_of(view, &walk)
    for i in range(entries.size()):
        if view.is_private:
            view.breathe(1)
        out.insert(order_of_double(scores[i]), entries[i])
    return True


cdef bint others_missing(View view, vector[Input]* inputs) except -1:
    """Whether inputs beside the first are to be read as a whole before members are looked for."""
    cdef bint missing = False
    cdef size_t i
    for i in range(1, inputs.size()):
        missing |= inputs[0][i].c != NULL and need_beside(
            view, inputs[0][i].c, inputs[0][0].c.meta.length)
    return missing


cdef int fold_others(View view, const Request* request, vector[Input]* inputs, Entry* e,
                     double* score) except -1:
    """Fold the scores that a member of the first input has in the others: FOUND, ABSENT or MISS."""
    cdef Element element
    cdef int found
    cdef int outcome = FOUND
    cdef size_t i
    for i in range(1, inputs.size()):
        found = find_element(view, inputs[0][i].c, e.key, e.key_len, &element)
        if found == ABSENT:
            return ABSENT
        if found == MISS:
            outcome = MISS
        elif outcome == FOUND:
            score[0] = folded(request.aggregate, score[0], weighed(&inputs[0][i], element.entry))
    return outcome


cdef bint intersect(View view, const Request* request, vector[Input]* inputs,
                    OrderTree[Entry]* out, int64_t* count) except -1:
    """Collect, or only count, the members that all inputs have; False: PARK."""
    cdef Walk walk
    cdef Entry* e
    cdef double score
    cdef int64_t limit = request.limit if request.limit else INT64_MAX
    cdef int found
    cdef bint missing = False
    if inputs[0][0].c == NULL:
        return True
    if others_missing(view, inputs) or need_walk(view, inputs[0][0].c):
        return False
    walk_all(view, inputs[0][0].c, &walk)
    e = next_of(view, &walk)
    while e != NULL and count[0] < limit:
        score = weighed(&inputs[0][0], e)
        found = fold_others(view, request, inputs, e, &score)
        missing |= found == MISS
        if found == FOUND:
            count[0] += 1
            if request.operation != CARDINALITY:
                out.insert(order_of_double(score), e)
        e = next_of(view, &walk)
    return not missing


cdef bint subtract(View view, vector[Input]* inputs, OrderTree[Entry]* out) except -1:
    """Collect the members of the first input that no other has; False: PARK."""
    cdef Walk walk
    cdef Element element
    cdef Entry* e
    cdef int found
    cdef size_t i
    cdef bint missing = False
    if inputs[0][0].c == NULL:
        return True
    if others_missing(view, inputs) or need_walk(view, inputs[0][0].c):
        return False
    walk_all(view, inputs[0][0].c, &walk)
    e = next_of(view, &walk)
    while e != NULL:
        found = ABSENT
        for i in range(1, inputs.size()):
            if inputs[0][i].c != NULL and found != FOUND:
                found = find_element(view, inputs[0][i].c, e.key, e.key_len, &element)
                missing |= found == MISS
        if found == ABSENT:
            out.insert(order_of_double(weighed(&inputs[0][0], e)), e)
        e = next_of(view, &walk)
    return not missing


cdef int reply_result(View view, OrderTree[Entry]* result, bint scores, Reply reply) except -1:
    cdef Position at = result.first()
    reply_members_head(reply, <int64_t>result.size(), scores)
    while at.valid():
        if view.is_private:
            view.breathe(1)
        reply_member(reply, at.entry(), double_of_order(at.order()), scores)
        at.next()
    return DONE


cdef int combine(View view, Args* args, Operation operation, bint stored, bytes name,
                 Reply reply) except -1:
    """Answer or store a combination. name: of the command, and of its event."""
    cdef Request request
    cdef vector[Input] inputs
    cdef OrderTree[Entry] result
    cdef int64_t count = 0
    cdef int numkeys = 2 if stored else 1
    cdef int found
    cdef bint done
    request.operation = operation
    request.aggregate = SUM
    request.stored = stored
    request.scores = False
    request.limit = 0
    found = open_inputs(view, args, numkeys, name, &request, &inputs, reply)
    if found != FOUND:
        return outcome_of(found)
    if not read_options(args, numkeys + 1 + <int>inputs.size(), &request, &inputs, reply):
        return DONE
    if operation != DIFFERENCE:
        sort_inputs(&inputs)
    if operation == UNION:
        done = unite(view, &request, &inputs, &result)
    elif operation == DIFFERENCE:
        done = subtract(view, &inputs, &result)
    else:
        done = intersect(view, &request, &inputs, &result, &count)
    if not done:
        return PARK
    if operation == CARDINALITY:
        return reply_integer(reply, count)
    if stored and is_past_budget(view, STEPS_PER_WRITE * <int64_t>result.size()):
        return PARK
    if stored:
        return store_result(view, &args.v[1], result.first(), result.size(), name, reply)
    return reply_result(view, &result, request.scores, reply)


cdef int cmd_zunion(View view, Args* args, Reply reply) except -1:
    return combine(view, args, UNION, False, b"zunion", reply)


cdef int cmd_zinter(View view, Args* args, Reply reply) except -1:
    return combine(view, args, INTERSECTION, False, b"zinter", reply)


cdef int cmd_zdiff(View view, Args* args, Reply reply) except -1:
    return combine(view, args, DIFFERENCE, False, b"zdiff", reply)


cdef int cmd_zunionstore(View view, Args* args, Reply reply) except -1:
    return combine(view, args, UNION, True, b"zunionstore", reply)


cdef int cmd_zinterstore(View view, Args* args, Reply reply) except -1:
    return combine(view, args, INTERSECTION, True, b"zinterstore", reply)


cdef int cmd_zdiffstore(View view, Args* args, Reply reply) except -1:
    return combine(view, args, DIFFERENCE, True, b"zdiffstore", reply)


cdef int cmd_zintercard(View view, Args* args, Reply reply) except -1:
    return combine(view, args, CARDINALITY, False, b"zintercard", reply)


HANDLERS = {
    "zunion": native(cmd_zunion),
    "zinter": native(cmd_zinter),
    "zdiff": native(cmd_zdiff),
    "zunionstore": native(cmd_zunionstore),
    "zinterstore": native(cmd_zinterstore),
    "zdiffstore": native(cmd_zdiffstore),
    "zintercard": native(cmd_zintercard),
}

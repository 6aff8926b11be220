/* Load generator: open loop (fixed schedule) or closed loop (fixed window) over many connections.
 *
 * Open loop: request i is due at a time that was fixed before anything was sent, and its latency
 * counts from then, so a server that stalls cannot slow its own measurement down (no coordinated
 * omission). Closed loop: each connection keeps a window of requests outstanding; latency counts
 * from the moment a request is handed to the socket's buffer. With --group N a request is a MULTI,
 * N times the write and an EXEC.
 *
 * --write and --read are commands as words, in which stand for the request's number k of --keys:
 *   {id}      twelve digits          {n}  the number itself    {end}  k + 99, the last of 100
 *   {mixed}   a number below --keys that k decides, in another order
 *   {random}  a number below --keys  {value}  --value-bytes that do not compress
 *
 * Lines on stdout, times in ns of CLOCK_MONOTONIC:
 *   second N REPLIES WORST_LATENCY             once a second
 *   pause FROM TO WORST_FROM WORST_TO          requests slower than --slow-ms, overlapping ones merged
 *   hist read|write LATENCY COUNT              buckets of a log-linear histogram (1/128 wide)
 *   due SECOND LATENCY COUNT                   the same by the second of the schedule: --by-second
 *   total ELAPSED SENT REPLIES ERRORS NULLS UNANSWERED
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "histogram.h"

enum {
    RING = 1 << 16,         /* requests outstanding on one connection, at most */
    READ_BYTES = 1 << 18,
    NOISE_BYTES = 1 << 20,  /* values are windows of this block: incompressible, nearly free */
    EVENTS = 512,
    WORDS = 16,             /* of a command */
    RANGE = 100,            /* from {n} to {end} */
    DRAIN_SECONDS = 20,
    BY_SECOND = 128,        /* seconds whose histograms are kept */
};
#define SECOND 1000000000ull

typedef struct {
    uint64_t due;
    int is_write;
} Request;

typedef enum { NOTHING, ID, NUMBER, END, MIXED, RANDOM, VALUE, KINDS } Kind;
static const char *placeholders[KINDS] = {"", "{id}", "{n}", "{end}", "{mixed}", "{random}", "{value}"};

typedef struct {
    char text[64];          /* what stands before the placeholder */
    int text_len;
    Kind kind;
} Word;

typedef struct {
    Word words[WORDS];
    int count;
    char head[8];           /* of the array in RESP */
} Command;

typedef struct {
    int fd, want_out;
    char *out;
    size_t out_head, out_len, out_cap;
    Request *ring;          /* outstanding requests in order of sending: tail <= i < head */
    uint64_t head, tail;
    char line[32];          /* the reply's first line, as far as it has arrived */
    int line_len, grouped;  /* grouped: replies of the group so far */
    uint64_t skip;          /* bytes left of a bulk reply's body */
    uint64_t elements;      /* left of an array, nested ones included */
} Conn;

static int port = 6379, conns_n = 50, window = 1, value_bytes = 64, write_percent = 50;
static int sequential, uniform, group, by_second;
static uint64_t keys = 100000, first_key, requests, slow_ns = 50000000, seed = 1;
static double rate, seconds;    /* rate 0: closed loop */

static Conn *conns;
static int epoll_fd;
static char noise[NOISE_BYTES + (1 << 20)];
static const char *write_words = "SET key:{id} {value}", *read_words = "GET key:{id}";
static Command commands[2];     /* read, write */
static uint64_t started;
static uint32_t due_hist[BY_SECOND][BUCKETS];
static uint64_t hist[2][BUCKETS], sent, replies, errors, nulls, next_key, second_worst;
static uint64_t pause_from, pause_to, worst_from, worst_to;

static void die(const char *what) {
    fprintf(stderr, "loadgen: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(1);
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * SECOND + t.tv_nsec;
}

static uint64_t random_u64(void) {  /* xorshift64* */
    seed ^= seed >> 12, seed ^= seed << 25, seed ^= seed >> 27;
    return seed * 2685821657736338717ull;
}

static void close_pause(void) {
    if (pause_to)
        printf("pause %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", pause_from, pause_to,
               worst_from, worst_to);
    pause_to = 0;
}

static void record(const Request *r, uint64_t done) {
    uint64_t latency = done > r->due ? done - r->due : 0;
    hist[r->is_write][bucket_of(latency)]++;
    if (by_second && r->due >= started && (r->due - started) / SECOND < BY_SECOND)
        due_hist[(r->due - started) / SECOND][bucket_of(latency)]++;
    if (latency > second_worst) second_worst = latency;
    if (latency <= slow_ns) return;
    if (pause_to && r->due > pause_to) close_pause();
    if (!pause_to) pause_from = r->due, worst_from = worst_to = done;
    if (r->due < pause_from) pause_from = r->due;
    pause_to = done;
    if (latency > worst_to - worst_from) worst_from = r->due, worst_to = done;
}

static void append(Conn *c, const char *data, size_t n) {
    if (c->out_len + n > c->out_cap) {
        c->out_cap = (c->out_len + n) * 2;
        if (!(c->out = realloc(c->out, c->out_cap))) die("out of memory");
    }
    memcpy(c->out + c->out_len, data, n);
    c->out_len += n;
}

static int put_number(char *out, uint64_t number, int width) {
    char digits[24];
    int n = 0;
    do digits[n++] = '0' + number % 10, number /= 10;
    while (number || n < width);
    for (int i = 0; i < n; i++) out[i] = digits[n - 1 - i];
    return n;
}

static void append_word(Conn *c, const Word *word, uint64_t k) {
    char filled[32], head[16] = "$";
    const char *rest = filled;
    int n = 0;
    switch (word->kind) {
        case ID: n = put_number(filled, k, 12); break;
        case NUMBER: n = put_number(filled, k, 1); break;
        case END: n = put_number(filled, k + RANGE - 1, 1); break;
        case MIXED: n = put_number(filled, (k * 0x9e3779b97f4a7c15ull >> 24) % keys, 1); break;
        case RANDOM: n = put_number(filled, random_u64() % keys, 1); break;
        case VALUE: rest = noise + random_u64() % NOISE_BYTES, n = value_bytes; break;
        default: break;
    }
    int m = 1 + put_number(head + 1, word->text_len + n, 1);
    memcpy(head + m, "\r\n", 2);
    append(c, head, m + 2);
    append(c, word->text, word->text_len);
    append(c, rest, n);
    append(c, "\r\n", 2);
}

static void append_command(Conn *c, int is_write) {
    const Command *command = &commands[is_write];
    uint64_t k = first_key + (sequential ? next_key++ % keys : random_u64() % keys);
    append(c, command->head, strlen(command->head));
    for (int i = 0; i < command->count; i++) append_word(c, &command->words[i], k);
}

static void request(Conn *c, uint64_t due) {
    int is_write = group || (int)(random_u64() % 100) < write_percent;
    if (group) append(c, "*1\r\n$5\r\nMULTI\r\n", 15);
    for (int i = 0; i < (group ? group : 1); i++) append_command(c, is_write);
    if (group) append(c, "*1\r\n$4\r\nEXEC\r\n", 14);
    if (c->head - c->tail == RING) errno = 0, die("too many requests outstanding: overload");
    c->ring[c->head++ % RING] = (Request){due, is_write};
    sent++;
}

/* A placeholder ends its word. */
static void compile(Command *command, const char *text) {
    for (const char *end; *text; text = *end ? end + 1 : end) {
        end = text + strcspn(text, " ");
        Word *word = &command->words[command->count++];
        int n = end - text;
        for (int kind = ID; kind < KINDS; kind++) {
            int m = strlen(placeholders[kind]);
            if (n < m || memcmp(end - m, placeholders[kind], m)) continue;
            word->kind = kind, n -= m;
            break;
        }
        if (command->count == WORDS || n > (int)sizeof word->text) errno = 0, die("a command too long");
        memcpy(word->text, text, word->text_len = n);
    }
    snprintf(command->head, sizeof command->head, "*%d\r\n", command->count);
}

static void flush(Conn *c) {
    while (c->out_head < c->out_len) {
        ssize_t n = write(c->fd, c->out + c->out_head, c->out_len - c->out_head);
        if (n < 0 && errno == EAGAIN) break;
        if (n < 0) die("write");
        c->out_head += n;
    }
    int want_out = c->out_head < c->out_len;
    if (!want_out) c->out_head = c->out_len = 0;
    if (want_out == c->want_out) return;
    struct epoll_event e = {.events = EPOLLIN | (want_out ? EPOLLOUT : 0), .data.ptr = c};
    c->want_out = want_out;
    if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &e)) die("epoll_ctl");
}

static void reply_done(Conn *c, uint64_t now) {
    if (c->tail == c->head) errno = 0, die("a reply nobody asked for");
    record(&c->ring[c->tail++ % RING], now);
    replies++;
}

/* An element of a reply has ended, or the reply itself; a group has one for each of its commands. */
static void element_done(Conn *c, uint64_t now) {
    if (c->elements && --c->elements) return;
    if (group && ++c->grouped < group + 2) return;
    c->grouped = 0;
    reply_done(c, now);
}

/* Counts replies in whatever pieces they arrive, arrays too. */
static void consume(Conn *c, const char *p, const char *end, uint64_t now) {
    while (p < end) {
        if (c->skip) {
            uint64_t n = (uint64_t)(end - p) < c->skip ? (uint64_t)(end - p) : c->skip;
            p += n, c->skip -= n;
            if (!c->skip) element_done(c, now);
            continue;
        }
        char byte = *p++;
        if (c->line_len < (int)sizeof c->line - 1) c->line[c->line_len++] = byte;
        if (byte != '\n') continue;
        c->line[c->line_len] = 0, c->line_len = 0;
        long length = c->line[0] == '$' || c->line[0] == '*' ? atol(c->line + 1) : -1;
        if (c->line[0] == '-' && !errors++) fprintf(stderr, "loadgen: %s\n", c->line);
        if (c->line[0] == '$' && length < 0) nulls++;
        if (c->line[0] == '*' && length > 0) c->elements += length - (c->elements > 0);
        else if (c->line[0] == '$' && length >= 0) c->skip = length + 2;
        else element_done(c, now);
    }
}

static void receive(Conn *c) {
    static char in[READ_BYTES];
    ssize_t n = read(c->fd, in, sizeof in);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) die("the server closed a connection");
    consume(c, in, in + n, now_ns());
}

static void connect_all(void) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if ((epoll_fd = epoll_create1(0)) < 0) die("epoll_create1");
    if (!(conns = calloc(conns_n, sizeof *conns))) die("out of memory");
    for (int i = 0; i < conns_n; i++) {
        Conn *c = &conns[i];
        int one = 1;
        c->fd = socket(AF_INET, SOCK_STREAM, 0);
        if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&a, sizeof a)) die("connect");
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (fcntl(c->fd, F_SETFL, O_NONBLOCK)) die("fcntl");
        if (!(c->ring = malloc(RING * sizeof *c->ring))) die("out of memory");
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &e)) die("epoll_ctl");
    }
}

static void wait_events(uint64_t until, int refill) {
    struct epoll_event events[EVENTS];
    uint64_t now = now_ns(), left = until > now ? until - now : 0;
    struct timespec timeout = {left / SECOND, left % SECOND};
    int n = epoll_pwait2(epoll_fd, events, EVENTS, &timeout, NULL);
    if (n < 0 && errno != EINTR) die("epoll_pwait2");
    for (int i = 0; i < n; i++) {
        Conn *c = events[i].data.ptr;
        if (events[i].events & ~EPOLLOUT) receive(c);
        if (refill) {
            uint64_t at = now_ns();
            while (c->head - c->tail < (uint64_t)window && (!requests || sent < requests))
                request(c, at);
        }
        flush(c);
    }
}

static uint64_t interval(void) {  /* ns to the next request of the schedule */
    if (uniform) return (uint64_t)(SECOND / rate);
    double u = (double)((random_u64() >> 11) + 1) / 9007199254740993.0;
    return (uint64_t)(-log(u) * SECOND / rate);
}

static void report_second(uint64_t *next) {
    static uint64_t second, seen;
    if (now_ns() < *next) return;
    printf("second %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", second++, replies - seen, second_worst);
    seen = replies, second_worst = 0;
    *next = started + (second + 1) * SECOND;
}

static void run(void) {
    started = now_ns();
    uint64_t next_report = started + SECOND, due = started + SECOND / 100;
    uint64_t end = seconds > 0 ? started + (uint64_t)(seconds * SECOND) : UINT64_MAX;
    if (!rate)
        for (int i = 0; i < conns_n; i++) {
            for (int j = 0; j < window && (!requests || sent < requests); j++)
                request(&conns[i], now_ns());
            flush(&conns[i]);
        }
    while (now_ns() < end && !(requests && sent >= requests)) {
        if (rate) {
            for (uint64_t now = now_ns(); due <= now; due += interval()) {
                Conn *c = &conns[sent % conns_n];
                request(c, due);
                if (!c->want_out) flush(c);
            }
            wait_events(due < next_report ? due : next_report, 0);
        } else
            wait_events(next_report, 1);
        report_second(&next_report);
    }
    uint64_t deadline = now_ns() + DRAIN_SECONDS * SECOND;
    while (replies < sent && now_ns() < deadline) {
        wait_events(next_report < deadline ? next_report : deadline, 0);
        report_second(&next_report);
    }
    uint64_t stopped = now_ns(), unanswered = sent - replies;
    for (int i = 0; i < conns_n; i++)   /* they count with the time they have waited so far */
        while (conns[i].tail < conns[i].head) record(&conns[i].ring[conns[i].tail++ % RING], stopped);
    close_pause();
    for (int w = 0; w < 2; w++)
        for (int b = 0; b < BUCKETS; b++)
            if (hist[w][b])
                printf("hist %s %" PRIu64 " %" PRIu64 "\n", w ? "write" : "read", bucket_top(b),
                       hist[w][b]);
    for (int s = 0; s < BY_SECOND; s++)
        for (int b = 0; b < BUCKETS; b++)
            if (due_hist[s][b])
                printf("due %d %" PRIu64 " %" PRIu32 "\n", s, bucket_top(b), due_hist[s][b]);
    printf("total %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
           stopped - started, sent, replies, errors, nulls, unanswered);
}

int main(int argc, char **argv) {
    static const struct option names[] = {
        {"port", 1, 0, 'p'}, {"connections", 1, 0, 'c'}, {"window", 1, 0, 'w'},
        {"value-bytes", 1, 0, 'd'}, {"writes", 1, 0, 'W'}, {"keys", 1, 0, 'k'},
        {"first-key", 1, 0, 'f'}, {"requests", 1, 0, 'n'}, {"rate", 1, 0, 'r'},
        {"seconds", 1, 0, 't'}, {"slow-ms", 1, 0, 's'}, {"seed", 1, 0, 'S'},
        {"write", 1, 0, 'x'}, {"read", 1, 0, 'y'}, {"group", 1, 0, 'g'}, {"by-second", 0, 0, 'b'},
        {"sequential", 0, 0, 'q'}, {"uniform", 0, 0, 'u'}, {0}};
    for (int o; (o = getopt_long(argc, argv, "", names, NULL)) != -1;) switch (o) {
        case 'p': port = atoi(optarg); break;
        case 'c': conns_n = atoi(optarg); break;
        case 'w': window = atoi(optarg); break;
        case 'd': value_bytes = atoi(optarg); break;
        case 'W': write_percent = atoi(optarg); break;
        case 'k': keys = strtoull(optarg, NULL, 10); break;
        case 'f': first_key = strtoull(optarg, NULL, 10); break;
        case 'n': requests = strtoull(optarg, NULL, 10); break;
        case 'r': rate = atof(optarg); break;
        case 't': seconds = atof(optarg); break;
        case 's': slow_ns = atoi(optarg) * 1000000ull; break;
        case 'S': seed = strtoull(optarg, NULL, 10) * 2 + 1; break;
        case 'x': write_words = optarg; break;
        case 'y': read_words = optarg; break;
        case 'q': sequential = 1; break;
        case 'u': uniform = 1; break;
        case 'g': group = atoi(optarg); break;
        case 'b': by_second = 1; break;
        default: return 2;
    }
    errno = 0;
    if (conns_n < 1 || window < 1 || window > RING || value_bytes < 0 ||
        value_bytes > (int)sizeof noise - NOISE_BYTES || !keys || !(requests || seconds > 0))
        die("an option is out of range, or neither --requests nor --seconds is given");
    prctl(PR_SET_TIMERSLACK, 1000);     /* the default of 50 us would show in every latency */
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t i = 0; i < sizeof noise; i++) noise[i] = 'A' + random_u64() % 64;
    compile(&commands[0], read_words);
    compile(&commands[1], write_words);
    connect_all();
    run();
    return 0;
}

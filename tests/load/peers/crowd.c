/* Many sockets that do nothing but count: the one client of every contestant.
 *
 *   crowd PORT DIALECT PATH MARKER [HEADER...]     DIALECT: ws or socketio
 *
 * A text frame whose payload begins with MARKER is an event. On stdin:
 *   connect N    open sockets until there are N      -> "connected N"
 *   check        what the sockets have counted       -> "check LEAST MOST BYTES_LEAST BYTES_MOST LOST"
 * Without being asked it says "all K NS" when the last socket has its K-th event (NS: of the realtime clock), and
 * "lost N" when a socket has ended. Pings are answered. It never looks further into a frame than MARKER. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SOCKETS = 65536, EVENTS = 1 << 20, AT_ONCE = 32, PREFIX = 128, READ = 1 << 16 };
enum state { DIALLING, HANDSHAKE, JOINING, OPEN, GONE };

struct member {
    int fd;
    enum state state;
    uint32_t events;
    uint64_t bytes;
    uint64_t skip;          /* of the payload, still to come */
    unsigned head, payload; /* bytes of the frame's head, and of the payload's beginning, that are here */
    unsigned char heads[10];
    char begins[PREFIX];
    char tail[4]; /* the end of what the handshake was */
};

static struct member members[SOCKETS];
static uint32_t have[EVENTS]; /* how many sockets have their K-th event */
static int opened, ready, wanted, lost, poller, port, socketio;
static const char *path, *marker;
static size_t marked;
static char headers[4096];

static void fail(const char *what) {
    fprintf(stderr, "crowd: %s: %s\n", what, strerror(errno));
    exit(1);
}

static long long now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void say(struct member *who, int opcode, const char *text, size_t size) {
    unsigned char frame[6 + 125] = {(unsigned char)(0x80 | opcode), (unsigned char)(0x80 | size)};
    memcpy(frame + 6, text, size); /* masked with zeros */
    if (send(who->fd, frame, 6 + size, MSG_NOSIGNAL) < 0) return; /* its end will be read */
}

static void dial(void) {
    struct member *who = &members[opened];
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    memset(who, 0, sizeof *who);
    who->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (who->fd < 0) fail("socket");
    if (connect(who->fd, (struct sockaddr *)&where, sizeof where) && errno != EINPROGRESS) fail("connect");
    struct epoll_event interest = {.events = EPOLLOUT, .data.u32 = (uint32_t)opened++};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, who->fd, &interest)) fail("epoll");
}

static void ask(struct member *who, uint32_t index) {
    char request[8192];
    int size = snprintf(request, sizeof request,
                        "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n",
                        path, port, headers);
    int broken = 0, yes = 1;
    socklen_t length = sizeof broken;
    getsockopt(who->fd, SOL_SOCKET, SO_ERROR, &broken, &length);
    if (broken) {
        errno = broken;
        fail("connect");
    }
    setsockopt(who->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (send(who->fd, request, (size_t)size, MSG_NOSIGNAL) != size) fail("send");
    struct epoll_event interest = {.events = EPOLLIN, .data.u32 = index};
    if (epoll_ctl(poller, EPOLL_CTL_MOD, who->fd, &interest)) fail("epoll");
    who->state = HANDSHAKE;
}

static void joined(struct member *who) {
    who->state = OPEN;
    ready++;
    if (ready == wanted) {
        printf("connected %d\n", ready);
        fflush(stdout);
    }
}

static void drop(struct member *who) {
    close(who->fd);
    who->state = GONE;
    printf("lost %d\n", ++lost);
    fflush(stdout);
}

/* A whole frame has come; of its payload only the beginning is here. */
static void take(struct member *who, uint64_t size) {
    int opcode = who->heads[0] & 0x0f;
    if (opcode == 0x9) {
        say(who, 0xa, who->begins, who->payload > 125 ? 125 : who->payload);
    } else if (opcode == 0x1 && socketio && who->payload == 1 && who->begins[0] == '2') {
        say(who, 0x1, "3", 1);
    } else if (opcode == 0x1 && socketio && who->state == JOINING) {
        if (who->begins[0] == '0') say(who, 0x1, "40", 2);
        if (who->begins[0] == '4' && who->begins[1] == '0') joined(who);
    } else if (opcode == 0x1 && who->payload >= marked && !memcmp(who->begins, marker, marked)) {
        who->bytes += size;
        if (who->events + 1 >= EVENTS) fail("more events than can be counted");
        if (++have[++who->events] == (uint32_t)ready) {
            printf("all %u %lld\n", who->events, now_ns());
            fflush(stdout);
        }
    }
}

static uint64_t frame_size(const struct member *who, unsigned *head) {
    unsigned size = who->heads[1] & 0x7f;
    uint64_t found = 0;
    *head = size < 126 ? 2 : size == 126 ? 4 : 10;
    if (size < 126) return size;
    for (unsigned at = 2; at < *head; at++) found = found << 8 | who->heads[at];
    return found;
}

static void read_frames(struct member *who, const char *data, size_t size) {
    unsigned needed = 2;
    uint64_t whole;
    while (size || (who->head >= 2 && !who->skip)) {
        if (who->head >= 2) frame_size(who, &needed);
        if (who->head < needed) {
            if (!size) return;
            who->heads[who->head++] = (unsigned char)*data++;
            size--;
            if (who->head >= 2) frame_size(who, &needed);
            if (who->head < needed) continue;
            who->skip = frame_size(who, &needed);
            who->payload = 0;
        }
        size_t part = who->skip < size ? (size_t)who->skip : size;
        if (who->payload < PREFIX) {
            size_t kept = part < PREFIX - who->payload ? part : PREFIX - who->payload;
            memcpy(who->begins + who->payload, data, kept);
            who->payload += (unsigned)kept;
        }
        who->skip -= part;
        data += part;
        size -= part;
        if (who->skip) return;
        whole = frame_size(who, &needed);
        who->head = 0;
        needed = 2;
        take(who, whole);
    }
}

static void read_some(struct member *who) {
    static char data[READ];
    ssize_t size = recv(who->fd, data, sizeof data, 0);
    const char *from = data;
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (size <= 0) {
        if (who->state != OPEN) fail("the handshake was refused");
        drop(who);
        return;
    }
    if (who->state == HANDSHAKE) {
        if (memcmp(data, "HTTP/1.1 101", 12)) fail("the handshake was refused");
        char *end = memmem(data, (size_t)size, "\r\n\r\n", 4);
        if (!end) fail("the handshake came in pieces");
        from = end + 4;
        who->state = JOINING;
        if (!socketio) joined(who);
    }
    read_frames(who, from, (size_t)(data + size - from));
}

static void check(void) {
    uint32_t least = UINT32_MAX, most = 0;
    uint64_t bytes_least = UINT64_MAX, bytes_most = 0;
    for (int at = 0; at < opened; at++) {
        struct member *who = &members[at];
        if (who->state == GONE) continue;
        if (who->events < least) least = who->events;
        if (who->events > most) most = who->events;
        if (who->bytes < bytes_least) bytes_least = who->bytes;
        if (who->bytes > bytes_most) bytes_most = who->bytes;
    }
    printf("check %u %u %llu %llu %d\n", least, most, (unsigned long long)bytes_least, (unsigned long long)bytes_most,
           lost);
    fflush(stdout);
}

static void obey(void) {
    char line[128];
    if (!fgets(line, sizeof line, stdin)) exit(0);
    if (sscanf(line, "connect %d", &wanted) == 1) {
        if (wanted > SOCKETS) fail("too many sockets");
        /* A new socket has no events yet: counting begins anew for all. */
        memset(have, 0, sizeof have);
        for (int at = 0; at < opened; at++) members[at].events = 0, members[at].bytes = 0;
        if (wanted == ready) {
            printf("connected %d\n", ready);
            fflush(stdout);
        }
    } else if (!strncmp(line, "check", 5)) {
        check();
    }
}

int main(int argc, char **argv) {
    if (argc < 5) return 2;
    port = atoi(argv[1]);
    socketio = !strcmp(argv[2], "socketio");
    path = argv[3];
    marker = argv[4];
    marked = strlen(marker);
    for (int at = 5; at < argc; at++) {
        strncat(headers, argv[at], sizeof headers - strlen(headers) - 3);
        strcat(headers, "\r\n");
    }
    poller = epoll_create1(0);
    struct epoll_event input = {.events = EPOLLIN, .data.u32 = SOCKETS}, found[1024];
    if (epoll_ctl(poller, EPOLL_CTL_ADD, 0, &input)) fail("epoll");
    setvbuf(stdin, NULL, _IONBF, 0);
    for (;;) {
        while (opened < wanted && opened - ready < AT_ONCE) dial();
        int count = epoll_wait(poller, found, 1024, -1);
        if (count < 0 && errno != EINTR) fail("epoll_wait");
        for (int at = 0; at < count; at++) {
            struct member *who = &members[found[at].data.u32 % SOCKETS];
            if (found[at].data.u32 == SOCKETS) obey();
            else if (who->state == DIALLING) ask(who, found[at].data.u32);
            else if (who->state != GONE) read_some(who);
        }
    }
}

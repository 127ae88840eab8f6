/* The floor of fan-out: one send() of a finished frame per socket and event, and nothing else.
 *
 *   floor PORT        prints "ready"; on stdin "emit COUNT SIZE"
 *
 * It shakes hands with anybody (the accept key is not computed: the crowd does not look) and never reads again. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SOCKETS = 65536, HEAD = 4 };

static int members[SOCKETS];
static int count;

static void welcome(int listener) {
    static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                 "Sec-WebSocket-Accept: none\r\n\r\n";
    char head[4096];
    int fd = accept(listener, NULL, NULL), yes = 1;
    if (fd < 0 || count == SOCKETS) exit(1);
    size_t got = 0;
    while (got < sizeof head - 1) {
        ssize_t part = recv(fd, head + got, sizeof head - 1 - got, 0);
        if (part <= 0) exit(1);
        got += (size_t)part;
        head[got] = 0;
        if (strstr(head, "\r\n\r\n")) break;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL) < 0) exit(1);
    members[count++] = fd;
}

static void emit(int times, int size) {
    char frame[65536];
    if (size < 126 || size > 65000) exit(1);
    frame[0] = (char)0x81;
    frame[1] = 126;
    frame[2] = (char)(size >> 8);
    frame[3] = (char)size;
    memset(frame + HEAD, 'x', (size_t)size);
    memcpy(frame + HEAD, "{\"type\":\"order_updated\"", 23);
    for (int made = 0; made < times; made++)
        for (int at = 0; at < count; at++) {
            ssize_t sent = send(members[at], frame, (size_t)(size + HEAD), MSG_DONTWAIT | MSG_NOSIGNAL);
            if (sent != size + HEAD) {
                fprintf(stderr, "the crowd does not keep up\n");
                exit(1);
            }
        }
}

int main(int argc, char **argv) {
    int listener = socket(AF_INET, SOCK_STREAM, 0), yes = 1, times, size;
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argc > 1 ? argv[1] : "0"))};
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&where, sizeof where) || listen(listener, 1024)) return 1;
    puts("ready");
    fflush(stdout);
    struct pollfd ends[2] = {{.fd = 0, .events = POLLIN}, {.fd = listener, .events = POLLIN}};
    char line[128];
    setvbuf(stdin, NULL, _IONBF, 0);
    while (poll(ends, 2, -1) >= 0) {
        if (ends[1].revents) welcome(listener);
        if (ends[0].revents) {
            if (!fgets(line, sizeof line, stdin)) return 0;
            if (sscanf(line, "emit %d %d", &times, &size) == 2) emit(times, size);
        }
    }
    return 0;
}

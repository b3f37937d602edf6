/* The reference of bench/modbus.py, on libmodbus: a server, a client, and a load generator on plain sockets.

   reference server PORT               serves 256 registers until it is killed; one thread, epoll
   reference client PORT SECONDS       reads 125 registers again and again, prints requests per second
   reference fleet PORT COUNT SECONDS  COUNT threads, each at 10 Hz with 4 requests a cycle; prints its CPU as a share
   reference load PORT COUNT SECONDS   COUNT connections with one request open each, prints rate and p99 in ns
   reference flood PORT COUNT          opens and drops COUNT connections, prints attempts per second */

#include <arpa/inet.h>
#include <errno.h>
#include <modbus.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define REGISTERS 125
#define CONNECTIONS_MAX 256

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

static double cpu_s(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return u.ru_utime.tv_sec + u.ru_stime.tv_sec + 1e-6 * (u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static int serve(int port)
{
    modbus_t *context = modbus_new_tcp("127.0.0.1", port);
    modbus_mapping_t *mapping = modbus_mapping_new(256, 256, 256, 256);
    int listener = modbus_tcp_listen(context, 128);
    int poll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[64];
    uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];

    if (listener < 0)
        return 1;
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
    printf("ready\n");
    fflush(stdout);
    for (;;) {
        int count = epoll_wait(poll, events, 64, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd, size;
            if (fd == listener) {
                event.data.fd = accept(listener, NULL, NULL);
                int one = 1;
                setsockopt(event.data.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                epoll_ctl(poll, EPOLL_CTL_ADD, event.data.fd, &event);
                continue;
            }
            modbus_set_socket(context, fd);
            size = modbus_receive(context, query);
            if (size > 0)
                modbus_reply(context, query, size, mapping);
            else if (size < 0)
                close(fd);
        }
    }
}

static int client(int port, double seconds)
{
    modbus_t *context = modbus_new_tcp("127.0.0.1", port);
    uint16_t registers[REGISTERS];
    long requests = 0;
    double began, end;

    if (modbus_connect(context))
        return 1;
    began = now_s();
    end = began + seconds;
    while (now_s() < end) {
        if (modbus_read_registers(context, 0, REGISTERS, registers) != REGISTERS)
            return 1;
        requests++;
    }
    printf("%.1f\n", requests / (now_s() - began));
    return 0;
}

struct task {
    int port;
    double began, end;
};

static void *cycle(void *argument)
{
    struct task *task = argument;
    modbus_t *context = modbus_new_tcp("127.0.0.1", task->port);
    uint16_t registers[REGISTERS];

    if (modbus_connect(context))
        return NULL;
    for (double due = task->began; due < task->end; due += 0.1) {
        struct timespec at = {(time_t)due, (long)(1e9 * (due - (time_t)due))};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
        for (int i = 0; i < 4; i++)
            modbus_read_registers(context, i, REGISTERS, registers);
    }
    modbus_close(context);
    return NULL;
}

static int fleet(int port, int count, double seconds)
{
    pthread_t threads[CONNECTIONS_MAX];
    struct task task = {port, now_s() + 0.2, now_s() + 0.2 + seconds};
    double before = cpu_s();

    for (int i = 0; i < count; i++)
        pthread_create(&threads[i], NULL, cycle, &task);
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    printf("%.5f\n", (cpu_s() - before) / seconds);
    return 0;
}

static int dial(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&address, sizeof address)) {
        close(fd);
        return -1;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int load(int port, int count, double seconds)
{
    static uint8_t request[12] = {0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, REGISTERS};
    int fds[CONNECTIONS_MAX], poll = epoll_create1(0);
    double sent[CONNECTIONS_MAX], *latency = malloc(sizeof(double) * 4000000), began, end;
    struct epoll_event events[64];
    size_t got[CONNECTIONS_MAX] = {0};
    long requests = 0;
    uint8_t reply[4096];

    for (int i = 0; i < count; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
        if ((fds[i] = dial(port)) < 0)
            return 1;
        epoll_ctl(poll, EPOLL_CTL_ADD, fds[i], &event);
    }
    began = now_s();
    end = began + seconds;
    for (int i = 0; i < count; i++) {
        sent[i] = now_s();
        if (write(fds[i], request, sizeof request) != sizeof request)
            return 1;
    }
    while (now_s() < end && requests < 4000000) {
        int ready = epoll_wait(poll, events, 64, 1000);
        if (ready <= 0)
            return 1;
        for (int n = 0; n < ready; n++) {
            int i = events[n].data.u32;
            ssize_t size = read(fds[i], reply, sizeof reply);
            if (size <= 0)
                return 1;
            got[i] += size;
            if (got[i] < 9 + 2 * REGISTERS)
                continue;
            got[i] = 0;
            latency[requests++] = now_s() - sent[i];
            sent[i] = now_s();
            if (write(fds[i], request, sizeof request) != sizeof request)
                return 1;
        }
    }
    double rate = requests / (now_s() - began);
    qsort(latency, requests, sizeof(double), by_value);
    printf("%.1f %.0f\n", rate, 1e9 * latency[requests * 99 / 100]);
    return 0;
}

static int flood(int port, int count)
{
    double began = now_s();
    int fds[64] = {0};

    for (int i = 0; i < count; i++) {
        if (fds[i % 64] > 0)
            close(fds[i % 64]);
        fds[i % 64] = dial(port);
    }
    printf("%.0f\n", count / (now_s() - began));
    return 0;
}

int main(int count, char **arguments)
{
    const char *role = count > 2 ? arguments[1] : "";
    int port = count > 2 ? atoi(arguments[2]) : 0;

    if (!strcmp(role, "server"))
        return serve(port);
    if (!strcmp(role, "client") && count > 3)
        return client(port, atof(arguments[3]));
    if (!strcmp(role, "fleet") && count > 4)
        return fleet(port, atoi(arguments[3]), atof(arguments[4]));
    if (!strcmp(role, "load") && count > 4)
        return load(port, atoi(arguments[3]), atof(arguments[4]));
    if (!strcmp(role, "flood") && count > 3)
        return flood(port, atoi(arguments[3]));
    return 2;
}

/* libmodbus as a peer: "server PORT UNIT" serves 64 points of each table on a serial line, "client PORT UNIT" asks a node
 * with every function that libmodbus has and prints what it gets. PORT is a device, for a client also a TCP port. */

#include <errno.h>
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POINTS 64
#define CHECK(call, wanted)                                                                                            \
    do {                                                                                                               \
        if ((call) != (wanted)) {                                                                                      \
            fprintf(stderr, "%s: %s\n", #call, modbus_strerror(errno));                                                \
            return 1;                                                                                                  \
        }                                                                                                              \
    } while (0)

static int serve(modbus_t *context)
{
    uint8_t query[MODBUS_RTU_MAX_ADU_LENGTH];
    modbus_mapping_t *mapping = modbus_mapping_new(POINTS, POINTS, POINTS, POINTS);

    for (int i = 0; i < POINTS; i++) {
        mapping->tab_input_registers[i] = 1000 + i;
        mapping->tab_input_bits[i] = i % 3 == 0;
    }
    puts("ready");
    fflush(stdout);
    for (;;) {
        int size = modbus_receive(context, query);
        if (size > 0)
            modbus_reply(context, query, size, mapping);
        else if (size < 0 && errno == EIO)
            return 0; /* the line is gone */
    }
}

static int ask(modbus_t *context)
{
    uint16_t words[4];
    uint8_t bits[4] = {1, 0, 1, 1};

    CHECK(modbus_read_input_registers(context, 1, 1, words), 1);
    printf("input %u\n", words[0]);
    CHECK(modbus_read_input_bits(context, 0, 3, bits), 3);
    printf("discrete %u%u%u\n", bits[0], bits[1], bits[2]);
    CHECK(modbus_write_bit(context, 9, 1), 1);
    CHECK(modbus_write_bits(context, 16, 3, bits), 3);
    CHECK(modbus_read_bits(context, 9, 1, bits), 1);
    printf("coil %u\n", bits[0]);
    CHECK(modbus_write_register(context, 0, 17), 1);
    CHECK(modbus_write_registers(context, 1, 2, (uint16_t[]){18, 19}), 2);
    CHECK(modbus_mask_write_register(context, 0, 0xFFF0, 0x0005), 1);
    CHECK(modbus_write_and_read_registers(context, 3, 1, (uint16_t[]){20}, 0, 4, words), 4);
    printf("holding %u %u %u %u\n", words[0], words[1], words[2], words[3]);
    CHECK(modbus_write_register(context, 9, 1), -1);
    printf("refused: %s\n", modbus_strerror(errno));
    return 0;
}

int main(int count, char **arguments)
{
    modbus_t *context = NULL;

    if (count == 4 && arguments[2][0] == '/')
        context = modbus_new_rtu(arguments[2], 115200, 'N', 8, 1);
    else if (count == 4)
        context = modbus_new_tcp("127.0.0.1", atoi(arguments[2]));
    if (!context || modbus_set_slave(context, atoi(arguments[3])) || modbus_connect(context)) {
        fprintf(stderr, "%s\n", modbus_strerror(errno));
        return 2;
    }
    modbus_set_response_timeout(context, 5, 0);
    return strcmp(arguments[1], "server") == 0 ? serve(context) : ask(context);
}

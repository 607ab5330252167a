#include "Sockmap.h"

#include <errno.h>
#include <linux/bpf.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "Peer.h"

static long bpf(int command, union bpf_attr *attribute) { return syscall(SYS_bpf, command, attribute, sizeof *attribute); }

static int make_map(void) {
    union bpf_attr a = {.map_type = BPF_MAP_TYPE_SOCKMAP, .key_size = 4, .value_size = 4, .max_entries = 2};
    return (int)bpf(BPF_MAP_CREATE, &a);
}

/// `return msg_redirect_map(msg, map, msg->local_port == server port ? 1 : 0, BPF_F_INGRESS)`: key 0 is the server's socket.
static int make_program(int map) {
    struct bpf_insn code[] = {
        {.code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = 6, .src_reg = 1, .off = offsetof(struct sk_msg_md, local_port)},
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 3, .imm = 0},
        {.code = BPF_JMP | BPF_JNE | BPF_K, .dst_reg = 6, .off = 1, .imm = control->port},
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 3, .imm = 1},
        {.code = BPF_LD | BPF_DW | BPF_IMM, .dst_reg = 2, .src_reg = BPF_PSEUDO_MAP_FD, .imm = map},
        {.code = 0},
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 4, .imm = BPF_F_INGRESS},
        {.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_msg_redirect_map},
        {.code = BPF_JMP | BPF_EXIT},
    };
    union bpf_attr a = {
        .prog_type = BPF_PROG_TYPE_SK_MSG, .insns = (uintptr_t)code, .insn_cnt = sizeof code / sizeof *code, .license = (uintptr_t) "GPL"};
    return (int)bpf(BPF_PROG_LOAD, &a);
}

static void add(int map, int key, int fd) {
    union bpf_attr a = {.map_fd = (unsigned)map, .key = (uintptr_t)&key, .value = (uintptr_t)&fd};
    if (bpf(BPF_MAP_UPDATE_ELEM, &a) != 0) skip("the kernel refuses a TCP socket in a socket map: %s", strerror(errno));
}

/// The client reaches the server's map by its identity: descriptors are not shared between the two.
static int open_map(uint32_t id) {
    union bpf_attr a = {.map_id = id};
    return (int)bpf(BPF_MAP_GET_FD_BY_ID, &a);
}

static uint32_t id_of(int map) {
    struct bpf_map_info info = {0};
    union bpf_attr a = {.info = {.bpf_fd = (unsigned)map, .info_len = sizeof info, .info = (uintptr_t)&info}};
    return bpf(BPF_OBJ_GET_INFO_BY_FD, &a) == 0 ? info.id : 0;
}

void sockmap_join(int fd) {
    if (options.role == ROLE_SERVER) {
        int map = make_map();
        if (map < 0) skip("no socket map: %s", strerror(errno));
        int program = make_program(map);
        if (program < 0) skip("no sk_msg program: %s", strerror(errno));
        union bpf_attr a = {.target_fd = (unsigned)map, .attach_bpf_fd = (unsigned)program, .attach_type = BPF_SK_MSG_VERDICT};
        if (bpf(BPF_PROG_ATTACH, &a) != 0) skip("the sk_msg program cannot be attached: %s", strerror(errno));
        add(map, 0, fd);
        control->bytes = id_of(map);
        reach(STEP_LINKED);
        await(STEP_LINKED);
    } else {
        await(STEP_LINKED);
        int map = open_map((uint32_t)control->bytes);
        if (map < 0) skip("the other side's socket map: %s", strerror(errno));
        add(map, 1, fd);
        reach(STEP_LINKED);
    }
}

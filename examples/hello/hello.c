#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

int main(void) {
    struct utsname name;
    uname(&name);
    printf("Hello from process %d on %s: compiled in one stage, alone in the next.\n", getpid(), name.nodename);
    return 0;
}

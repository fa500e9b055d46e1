/*
 * The system calls that the sandbox refuses, with a reason for each: MB_CALL(name, class, reason). ALWAYS: in every
 * process that meets a client; WISH: in a process with a sandbox of its listen{} call, too. The names are those of
 * libseccomp; a name that an architecture does not have is left out there. It must be included by files that define
 * MB_CALL. Calls of which only some arguments are refused stand in filter_rules.c.
 *
 * The groups are those of systemd, see "systemd-analyze syscall-filter": ALWAYS is what @system-service leaves out, and
 * of @system-service what reaches other processes, or what attackers of kernels use most.
 */

/* @debug: memory and descriptors of other processes */
MB_CALL("ptrace", ALWAYS, "reads and changes other processes")
MB_CALL("process_vm_readv", ALWAYS, "reads the memory of other processes")
MB_CALL("process_vm_writev", ALWAYS, "writes the memory of other processes")
MB_CALL("process_madvise", ALWAYS, "changes the memory of other processes")
MB_CALL("pidfd_getfd", ALWAYS, "takes descriptors of other processes")
MB_CALL("kcmp", ALWAYS, "compares the kernel's objects of other processes")
MB_CALL("move_pages", ALWAYS, "moves the memory of other processes")
MB_CALL("migrate_pages", ALWAYS, "moves the memory of other processes")
MB_CALL("perf_event_open", ALWAYS,
        "watches other processes and the kernel; its code has had many faults")

/* parts of the kernel that attackers use to get its privileges */
MB_CALL("bpf", ALWAYS, "loads programs into the kernel")
MB_CALL("userfaultfd", ALWAYS, "holds the kernel in the middle of a copy")
MB_CALL("io_uring_setup", ALWAYS, "makes system calls that no filter sees")
MB_CALL("io_uring_enter", ALWAYS, "makes system calls that no filter sees")
MB_CALL("io_uring_register", ALWAYS, "makes system calls that no filter sees")
MB_CALL("modify_ldt", ALWAYS, "makes segments of 16 bits, which nothing but old emulators needs")

/* @keyring */
MB_CALL("add_key", ALWAYS, "stores keys in the kernel, which outlive the process")
MB_CALL("keyctl", ALWAYS, "reads keys of the user")
MB_CALL("request_key", ALWAYS, "reads keys of the user, and starts a program for it")

/* @mount: other views of the file system */
MB_CALL("mount", ALWAYS, "changes the file system's tree")
MB_CALL("umount2", ALWAYS, "changes the file system's tree")
MB_CALL("pivot_root", ALWAYS, "changes the file system's tree")
MB_CALL("chroot", ALWAYS, "changes the file system's tree; prepare may call it")
MB_CALL("open_tree", ALWAYS, "changes the file system's tree")
MB_CALL("move_mount", ALWAYS, "changes the file system's tree")
MB_CALL("fsopen", ALWAYS, "changes the file system's tree")
MB_CALL("fsconfig", ALWAYS, "changes the file system's tree")
MB_CALL("fsmount", ALWAYS, "changes the file system's tree")
MB_CALL("fspick", ALWAYS, "changes the file system's tree")
MB_CALL("mount_setattr", ALWAYS, "changes the file system's tree")

/* namespaces: in a new one a user has all privileges over code that trusts them */
MB_CALL("unshare", ALWAYS, "opens namespaces")
MB_CALL("setns", ALWAYS, "enters namespaces")

/* @module, @reboot, @swap, @raw-io, @clock, and the rest of @privileged: for the administrator of the machine */
MB_CALL("init_module", ALWAYS, "loads code into the kernel")
MB_CALL("finit_module", ALWAYS, "loads code into the kernel")
MB_CALL("delete_module", ALWAYS, "removes code from the kernel")
MB_CALL("kexec_load", ALWAYS, "replaces the kernel")
MB_CALL("kexec_file_load", ALWAYS, "replaces the kernel")
MB_CALL("reboot", ALWAYS, "stops the machine")
MB_CALL("swapon", ALWAYS, "changes the machine's memory")
MB_CALL("swapoff", ALWAYS, "changes the machine's memory")
MB_CALL("iopl", ALWAYS, "reaches the hardware")
MB_CALL("ioperm", ALWAYS, "reaches the hardware")
MB_CALL("settimeofday", ALWAYS, "sets the clock")
MB_CALL("clock_settime", ALWAYS, "sets the clock")
MB_CALL("clock_adjtime", ALWAYS, "sets the clock")
MB_CALL("adjtimex", ALWAYS, "sets the clock")
MB_CALL("sethostname", ALWAYS, "renames the machine")
MB_CALL("setdomainname", ALWAYS, "renames the machine")
MB_CALL("acct", ALWAYS, "writes a record of all processes")
MB_CALL("quotactl", ALWAYS, "changes quotas")
MB_CALL("quotactl_fd", ALWAYS, "changes quotas")
MB_CALL("vhangup", ALWAYS, "takes terminals from others")
MB_CALL("syslog", ALWAYS, "reads the kernel's log")
MB_CALL("fanotify_init", ALWAYS, "watches the files of all processes")
MB_CALL("open_by_handle_at", ALWAYS, "opens files past the directories that protect them")

/* Landlock does not look at what these do to a path. */
MB_CALL("fchmod", WISH, "changes files that were opened to be read")
MB_CALL("fchown", WISH, "changes files that were opened to be read")
MB_CALL("fsetxattr", WISH, "changes files that were opened to be read")
MB_CALL("fremovexattr", WISH, "changes files that were opened to be read")
MB_CALL("utimensat", WISH, "changes files that were opened to be read")
MB_CALL("chmod", WISH, "changes files that may not be written")
MB_CALL("fchmodat", WISH, "changes files that may not be written")
MB_CALL("chown", WISH, "changes files that may not be written")
MB_CALL("lchown", WISH, "changes files that may not be written")
MB_CALL("fchownat", WISH, "changes files that may not be written")
MB_CALL("setxattr", WISH, "changes files that may not be written")
MB_CALL("lsetxattr", WISH, "changes files that may not be written")
MB_CALL("removexattr", WISH, "changes files that may not be written")
MB_CALL("lremovexattr", WISH, "changes files that may not be written")
MB_CALL("utime", WISH, "changes files that may not be written")
MB_CALL("utimes", WISH, "changes files that may not be written")
MB_CALL("futimesat", WISH, "changes files that may not be written")
MB_CALL("inotify_add_watch", WISH, "watches files that may not be read")

/* Landlock does not look at files that have no directory. */
MB_CALL("memfd_create", WISH, "makes a program that no wish names")
MB_CALL("memfd_secret", WISH, "makes memory that the kernel cannot see")

/* @ipc: objects that other processes share, and that outlive this one */
MB_CALL("shmget", WISH, "shares memory with other processes")
MB_CALL("shmat", WISH, "shares memory with other processes")
MB_CALL("shmctl", WISH, "removes memory that other processes share")
MB_CALL("semget", WISH, "shares semaphores with other processes")
MB_CALL("semop", WISH, "shares semaphores with other processes")
MB_CALL("semtimedop", WISH, "shares semaphores with other processes")
MB_CALL("semctl", WISH, "shares semaphores with other processes")
MB_CALL("msgget", WISH, "sends messages to other processes")
MB_CALL("msgsnd", WISH, "sends messages to other processes")
MB_CALL("msgrcv", WISH, "reads messages of other processes")
MB_CALL("msgctl", WISH, "removes messages of other processes")
MB_CALL("mq_open", WISH, "sends messages to other processes")
MB_CALL("mq_unlink", WISH, "removes messages of other processes")

/* @resources: limits are what the sandbox has set */
MB_CALL("setrlimit", WISH, "raises limits")
MB_CALL("setpriority", WISH, "takes processor time from others")
MB_CALL("sched_setaffinity", WISH, "moves other processes of the user")
MB_CALL("sched_setparam", WISH, "takes processor time from others")
MB_CALL("sched_setscheduler", WISH, "takes processor time from others")
MB_CALL("sched_setattr", WISH, "takes processor time from others")
MB_CALL("ioprio_set", WISH, "takes the disk's time from others")
MB_CALL("personality", WISH, "weakens the protection of memory")

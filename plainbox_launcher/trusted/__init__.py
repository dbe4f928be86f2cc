# SPDX-License-Identifier: ISC
"""The trusted room: what runs as root, and what both programs must agree on.

The contract. Whoever changes a file in here checks it against each line.

 1. The room MUST import nothing but itself and the standard library: root runs
    no code that did not come with Python or with this folder.
 2. It MUST refuse on any surprise: a stable code, exit status 125, no job.
 3. It MUST take nothing from the caller but a hash, another hash, NAME=VALUE
    pairs, a time limit and the job's descriptors; and give a job only those names
    which the job lists.
 4. It MUST read definitions only from fixed directories, MUST check what it
    opened rather than the name it asked for, and MUST run the very bytes that
    it hashed.
 5. It MUST have written to the system log before a job starts.
 6. It MUST NOT ask polkit, which pkexec has done before the first line of this room
    is reached; nor touch what belongs to a user, unless it has become that user. For
    a job in a session it asks logind, by loginctl(1).
 7. It MUST end what it starts when it gives up on it, with all descendants.

Reading order: `launcher` is the road; then, as the road meets them,

    start         the state in which the caller left us, made ours
    commandline   argv -> request
    caller        who asked, and the few things of theirs that are let in
    errors        Refused and Fault, and the hints that go with each code
    files         directories and files, opened and then checked
    rfc822        bytes -> records
    provider      a provider's definition
    unit          a record of a provider: job or template; canonical form, hash
    siblings      the further jobs that a unit stands for
    library       all that is installed
    job           one job, from request to ending
    generate      --via: the jobs that come of what another prints
    template      a template and records -> jobs
    expression    which records a template takes
    account       the account that a job runs as, and becoming it
    desktop       the session of whoever sits at the machine
    environ       what a job finds in its environment
    execute       fork, exec, wait
    tree          all that we started: counting and ending it
    audit         one line before, one after
    frames        --channel: frames as values and as bytes
    channel       frames in, verdicts out
    keeper        a process for each job of a channel

The runner imports the room for the format and the hash. Never the reverse.
"""

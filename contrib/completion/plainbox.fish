# SPDX-License-Identifier: ISC
# Completion of plainbox(1) in fish.
#
# Ids come from files that anybody may have written, and words from a line that is not
# finished. fish quotes the first, and nothing here expands or evaluates the second.

# Whether the line has one of these commands, as `run` or 'session show'; '' for none.
function __plainbox_is
    set --local words (commandline -opc)
    set --local command $words[2]
    test "$command" = session; and set command (string join ' ' $words[2..3])
    contains -- "$command" $argv
end

# `special -J` runs no job, as `list` would. Not offered are ids that plainbox had to
# escape with a '\', what would be an option, and full ids of which nothing is typed.
function __plainbox_jobs
    set --local ids (__plainbox_listed special -J |
        sed -n 's/^[0-9a-f]* //; /\\\\/d; /^[^-]/p; s/.*:://; /^[^-]/p')
    set --local begun (commandline -ct | string replace --regex -- '^--[a-z]+=' '')
    string match --quiet --regex '\w' -- $begun
    or set ids (string match --invert -- '*::*' $ids)
    printf '%s\n' $ids
end

# Short ids, from the first column. This runs no job either.
function __plainbox_plans
    __plainbox_listed list --plans | sed '/\\\\/d; /^-/d; s/  .*//'
end

function __plainbox_patterns
    if contains -- --plans (commandline -opc)
        __plainbox_plans
    else
        __plainbox_jobs
    end
end

# What plainbox lists of the providers on the line, too.
function __plainbox_listed  # COMMAND...
    set --local previous
    set --local providers
    for word in (commandline -opc)
        test "$previous" = --provider; and set word --provider=$word
        set previous $word
        string match --quiet -- '--provider=~/*' $word
        and set word --provider=$HOME/(string sub --start 14 -- $word)
        string match --quiet -- '--provider=*' $word
        and set --append providers $word
    end
    command plainbox $argv $providers </dev/null 2>/dev/null
end

# Ids, and what there is to say of each.
function __plainbox_sessions
    command plainbox sessions </dev/null 2>/dev/null | string replace --regex ' +' \t
end

# Formats, and paths behind them.
function __plainbox_reports
    set --local word (commandline -ct | string replace -- '--report=' '')
    set --local format (string match --regex '^(?:text|json|junit)=' -- $word)
    if test -n "$format"
        set --local path (string replace -- "$format" '' $word)
        for each in (__fish_complete_path "$path")
            echo $format$each
        end
    else
        printf '%s\n' text= json= junit=
    end
end

function __plainbox_codes
    command plainbox explain </dev/null 2>/dev/null | sed 's/ .*//; /^$/d'
end

complete -c plainbox -f
complete -c plainbox -s h -l help -d 'Show help'

complete -c plainbox -n "__plainbox_is ''" -l version -d 'Show the version'
complete -c plainbox -n "__plainbox_is ''" -a doctor \
    -d 'Say whether root jobs will run here'
complete -c plainbox -n "__plainbox_is ''" -a explain -d 'Say what a code means'
complete -c plainbox -n "__plainbox_is ''" -a list -d 'List jobs'
complete -c plainbox -n "__plainbox_is ''" -a report -d 'Write a report of a session'
complete -c plainbox -n "__plainbox_is ''" -a rerun \
    -d 'Run a session again, as a new one'
complete -c plainbox -n "__plainbox_is ''" -a resume \
    -d 'Go on with a session that was cut off'
complete -c plainbox -n "__plainbox_is ''" -a run -d 'Run jobs'
complete -c plainbox -n "__plainbox_is ''" -a session \
    -d 'Show, remove or acknowledge sessions'
complete -c plainbox -n "__plainbox_is ''" -a sessions -d 'List the sessions there are'
complete -c plainbox -n "__plainbox_is ''" -a show -d 'Show jobs'
complete -c plainbox -n "__plainbox_is ''" -a special -d 'Listings for other programs'
complete -c plainbox -n "__plainbox_is ''" -a submit -d 'Put jobs into the queue'
complete -c plainbox -n "__plainbox_is ''" -a work -d 'Run what is in the queue'

complete -c plainbox -n '__plainbox_is session' -a ack \
    -d 'Remove sessions whose results have arrived elsewhere'
complete -c plainbox -n '__plainbox_is session' -a rm -d 'Remove it with its files'
complete -c plainbox -n '__plainbox_is session' -a show \
    -d 'Show what became of each job'

complete -c plainbox -n '__plainbox_is doctor list sessions show' \
    -l json -d 'For other programs'
complete -c plainbox -n '__plainbox_is list run show special submit' \
    -l provider -rF -d 'Also read this .provider file or directory'
complete -c plainbox -n '__plainbox_is special' \
    -s J -l list-job-hashes -d 'Hash and id of each job'

complete -c plainbox -n '__plainbox_is list' \
    -l plans -d 'List test plans instead of jobs'
complete -c plainbox -n '__plainbox_is list' \
    -l plugin -x -d 'Only jobs of this plugin' \
    -a 'attachment local manual resource shell user-interact user-interact-verify
        user-verify'
complete -c plainbox -n '__plainbox_is list' \
    -l root -d 'Only jobs that run as somebody else'

complete -c plainbox -n '__plainbox_is run submit' \
    -l exclude -x -a '(__plainbox_jobs)' -d 'But not the jobs that match this'
complete -c plainbox -n '__plainbox_is run submit' \
    -l plan -x -a '(__plainbox_plans)' -d 'The jobs of this test plan'
complete -c plainbox -n '__plainbox_is run submit' \
    -l regex -d 'Patterns are regular expressions'
complete -c plainbox -n '__plainbox_is run submit' \
    -l job-timeout -x -d 'End each job after this time'
complete -c plainbox -n '__plainbox_is run submit' \
    -l launcher -rF -d 'Another trusted launcher'
complete -c plainbox -n '__plainbox_is run submit' \
    -l max-output -x -d 'Keep so much of each output'
complete -c plainbox -n '__plainbox_is run submit' \
    -l non-interactive -d 'Skip jobs that a person has to do'
complete -c plainbox -n '__plainbox_is run submit' \
    -l per-job -d 'Call pkexec for each root job'
complete -c plainbox -n '__plainbox_is run submit' \
    -l report -x -a '(__plainbox_reports)' -d 'Also write a report at the end'
complete -c plainbox -n '__plainbox_is run submit' \
    -l timeout -x -d 'End the running job, skip the others'

complete -c plainbox -n '__plainbox_is rerun resume run work' \
    -l plain -d 'No bar, no colours'
complete -c plainbox -n '__plainbox_is rerun resume run work' \
    -s q -l quiet -d 'Show only what did not pass'
complete -c plainbox -n '__plainbox_is rerun resume run work' \
    -s v -l verbose -d 'Also show hashes and time limits'
complete -c plainbox -n '__plainbox_is rerun' \
    -l failed -d 'Only the jobs that neither passed nor were skipped'
complete -c plainbox -n '__plainbox_is work' -l once -d 'End when the queue is empty'

complete -c plainbox -n '__plainbox_is report' \
    -l format -x -a 'text json junit' -d 'Its format'
complete -c plainbox -n '__plainbox_is report' \
    -s o -l output -rF -d 'Where to write it'

complete -c plainbox -n '__plainbox_is run show submit' -a '(__plainbox_jobs)'
complete -c plainbox -n '__plainbox_is list' -a '(__plainbox_patterns)'
complete -c plainbox -n '__plainbox_is explain' -a '(__plainbox_codes)'
complete -c plainbox \
    -n '__plainbox_is report rerun resume "session ack" "session rm" "session show"' \
    -a '(__plainbox_sessions)'

# SPDX-License-Identifier: ISC
# Completion of plainbox(1) in fish.
#
# Ids come from files that anybody may have written, and words from a line that is not
# finished. fish quotes the first, and nothing here expands or evaluates the second.

# `special -J` runs no job, as `list` would. Not offered are ids that plainbox had to
# escape with a '\', what would be an option, and full ids of which nothing is typed.
function __plainbox_jobs
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
    set --local ids (command plainbox special -J $providers </dev/null 2>/dev/null |
        sed -n 's/^[0-9a-f]* //; /\\\\/d; /^[^-]/p; s/.*:://; /^[^-]/p')
    string match --quiet --regex '\w' -- (commandline -ct)
    or set ids (string match --invert -- '*::*' $ids)
    printf '%s\n' $ids
end

# `json=`, and paths behind it.
function __plainbox_reports
    set --local path (commandline -ct | string replace -- '--report=' '')
    if string match --quiet -- 'json=*' $path
        printf 'json=%s\n' (__fish_complete_path (string sub --start 6 -- $path))
    else
        echo json=
    end
end

function __plainbox_codes
    command plainbox explain </dev/null 2>/dev/null | sed 's/ .*//; /^$/d'
end

complete -c plainbox -f
complete -c plainbox -s h -l help -d 'Show help'
complete -c plainbox -n __fish_use_subcommand -l version -d 'Show the version'
complete -c plainbox -n __fish_use_subcommand -a doctor \
    -d 'Say whether root jobs will run here'
complete -c plainbox -n __fish_use_subcommand -a explain -d 'Say what a code means'
complete -c plainbox -n __fish_use_subcommand -a list -d 'List jobs'
complete -c plainbox -n __fish_use_subcommand -a run -d 'Run jobs'
complete -c plainbox -n __fish_use_subcommand -a show -d 'Show one job'
complete -c plainbox -n __fish_use_subcommand -a special -d 'Listings for other programs'

complete -c plainbox -n '__fish_seen_subcommand_from doctor' \
    -l json -d 'For other programs'
complete -c plainbox -n '__fish_seen_subcommand_from list run show special' \
    -l provider -rF -d 'Also read this .provider file or directory'
complete -c plainbox -n '__fish_seen_subcommand_from run' \
    -l launcher -rF -d 'Another trusted launcher'
complete -c plainbox -n '__fish_seen_subcommand_from run' \
    -l job-timeout -x -d 'End each job after this time'
complete -c plainbox -n '__fish_seen_subcommand_from run' \
    -l per-job -d 'Call pkexec for each root job'
complete -c plainbox -n '__fish_seen_subcommand_from run' \
    -l report -x -a '(__plainbox_reports)' -d 'Also write what became of each job'
complete -c plainbox -n '__fish_seen_subcommand_from run' \
    -l timeout -x -d 'End the running job, skip the others'
complete -c plainbox -n '__fish_seen_subcommand_from special' \
    -s J -l list-job-hashes -d 'Hash and id of each job'

complete -c plainbox -n '__fish_seen_subcommand_from list run show' -a '(__plainbox_jobs)'
complete -c plainbox -n '__fish_seen_subcommand_from explain' -a '(__plainbox_codes)'

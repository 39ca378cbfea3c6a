# Stops the server $1 seconds after its last user has gone, then ends. It is for users who were
# killed: the others stop the server themselves. Runs in the cluster's folder as the server's user.
trap '' HUP INT TERM

# Linux has flock and macOS has Perl. Where neither is found, this ends, and a server whose users
# were killed stays until its next user leaves.
if command -v flock >/dev/null; then
  acquire() { flock "$1"; }; attempt() { flock -n "$1"; }; release() { flock -u "$1"; }
else
  lock() { perl -e 'open(F, "<&=", shift) && flock(F, shift) or exit 1' "$@"; }
  acquire() { lock "$1" 2; }; attempt() { lock "$1" 6; }; release() { lock "$1" 8; }
fi

exec 7<server.lock 8<users.lock 9<start.lock || exit
while acquire 8; do
  release 8
  sleep "$1"
  acquire 9 || exit
  if attempt 8; then
    attempt 7 || { kill -INT "$(head -n 1 data/postmaster.pid)"; acquire 7; }
    exit
  fi
  release 9
done

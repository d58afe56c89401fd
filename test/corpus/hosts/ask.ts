/*
 * Runs on a client: `node ask.ts QUESTION` asks Pods (agnhost netexec) for their name over TCP, UDP or SCTP, and prints an
 * {@link Answer} for each target as JSON.
 */
import { execFile } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { get } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

export type Target = {
  readonly address: string;
  readonly port: number;
  readonly protocol: 'TCP' | 'UDP' | 'SCTP';
};

/**
 * `until`: all targets at the same time, each repeatedly until it answers or its deadline is over, for the Pod's name and the
 * client's address as the Pod sees it. `in turn`: one connection after the other, for the name alone, because a second
 * connection for the address would hide that two nodes take turns.
 */
export type Question =
  | { readonly kind: 'until'; readonly targets: readonly (Target & { readonly deadlineMs: number })[] }
  | { readonly kind: 'in turn'; readonly targets: readonly Target[] };

/** `client` is `''` where it was not asked. */
export type Answer =
  | { readonly pod: string; readonly client: string; readonly ms: number }
  | { readonly failure: string };

/** The failure of a protocol that this machine does not have. */
export const notSpoken = 'this kernel has no SCTP';

const attemptMs = 1_000;
const pauseMs = 200;

const overSctp = String.raw`
use strict;
use Socket qw(:all);
my ($address, $port, $text) = @ARGV;
my ($error, $to) = getaddrinfo($address, $port, { flags => AI_NUMERICHOST, socktype => SOCK_STREAM });
socket(my $socket, $to->{family}, SOCK_STREAM, 132) or (print("${notSpoken}"), exit 3);
connect($socket, $to->{addr}) or (print("refused"), exit 3);
syswrite($socket, $text);
sysread($socket, my $answer, 1500) or (print("closed"), exit 3);
print $answer;
`;

function viaTcp({ address, port }: Target, path: string): Promise<string> {
  const host = address.includes(':') ? `[${address}]` : address;
  return new Promise((resolve, reject) => {
    const options = { agent: false, signal: AbortSignal.timeout(attemptMs) };
    const request = get(`http://${host}:${port}/${path}`, options, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      response.once('error', reject).once('end', () => {
        if (response.statusCode === 200) resolve(body);
        else reject(new Error(`HTTP ${response.statusCode}`));
      });
    });
    request.once('error', reject);
  });
}

function viaUdp({ address, port }: Target, text: string): Promise<string> {
  return new Promise<string>((resolve, reject) => {
    const signal = AbortSignal.timeout(attemptMs); // closes the socket
    const socket = createSocket({ type: address.includes(':') ? 'udp6' : 'udp4', signal });
    socket.once('close', () => reject(new Error('silence')));
    socket.once('message', (answer) => {
      resolve(answer.toString());
      socket.close();
    });
    socket.once('error', (error) => {
      reject(error);
      socket.close();
    });
    socket.connect(port, address, () => socket.send(text));
  });
}

function viaSctp({ address, port }: Target, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile('perl', ['-e', overSctp, address, String(port), text], { timeout: attemptMs }, (error, stdout) => {
      if (error === null) resolve(stdout);
      else reject(new Error(error.killed === true ? 'silence' : stdout || error.message));
    });
  });
}

const ways = { TCP: viaTcp, UDP: viaUdp, SCTP: viaSctp } as const;

async function ask(target: Target, isForClient: boolean): Promise<Answer> {
  const via = ways[target.protocol];
  try {
    const startedAt = performance.now();
    const pod = (await via(target, 'hostname')).trim();
    const ms = Math.round(performance.now() - startedAt);
    return { pod, client: isForClient ? addressOf(await via(target, 'clientip')) : '', ms };
  } catch (error) {
    return { failure: failureOf(error as NodeJS.ErrnoException) };
  }
}

/** `[::ffff:198.51.100.2]:4711` → `198.51.100.2`. */
function addressOf(peer: string): string {
  return peer
    .trim()
    .replace(/:\d+$/, '')
    .replaceAll(/[[\]]/g, '')
    .replace(/^::ffff:/, '');
}

function failureOf({ code, name, message }: NodeJS.ErrnoException): string {
  if (name === 'TimeoutError' || name === 'AbortError') return 'silence';
  if (code === 'ECONNREFUSED') return 'refused';
  if (code === 'ECONNRESET' || code === 'EPIPE') return 'closed';
  return code ?? message;
}

async function until({ deadlineMs, ...target }: Target & { readonly deadlineMs: number }): Promise<Answer> {
  const endsAt = performance.now() + deadlineMs;
  for (;;) {
    const answer = await ask(target, true);
    if ('pod' in answer || answer.failure === notSpoken || performance.now() > endsAt) return answer;
    await sleep(pauseMs);
  }
}

async function answersTo(question: Question): Promise<readonly Answer[]> {
  if (question.kind === 'until') return Promise.all(question.targets.map(until));
  const answers: Answer[] = [];
  for (const target of question.targets) answers.push(await ask(target, false));
  return answers;
}

if (import.meta.main)
  process.stdout.write(JSON.stringify(await answersTo(JSON.parse(process.argv[2] ?? '') as Question)));

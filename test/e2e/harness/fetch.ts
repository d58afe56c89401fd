import { expect } from 'vitest';
import type { Host } from '../../../lab/network/host.ts';
import { ExecError } from '../../../src/ports/exec.ts';
import { eventually } from './eventually.ts';

/**
 * How a request failed: the connection was refused; accepted, and closed without an answer; without any answer within
 * the deadline.
 */
export type Failure = 'refused' | 'closed' | 'silence';

/** Exit codes of curl. */
const failures: Readonly<Record<number, Failure>> = { 7: 'refused', 28: 'silence', 52: 'closed', 56: 'closed' };

/** Fetches a URL from a host over a new connection: the body of the answer, or a {@link Failure}. */
export async function fetchFrom(host: Host, url: string, timeoutSeconds = 3): Promise<string> {
  try {
    return (await host.exec(curl(timeoutSeconds, url))).stdout;
  } catch (error) {
    const failure = error instanceof ExecError ? failures[error.exitCode ?? 0] : undefined;
    if (failure === undefined) throw error;
    return failure;
  }
}

/** Fetches a URL repeatedly until the answer (or {@link Failure}) is this. */
export async function untilAnswer(host: Host, url: string, answer: string | RegExp): Promise<void> {
  await eventually(async () => expect(await fetchFrom(host, url, 1)).toMatch(answer));
}

/** Fetches a URL `count` times, one after the other, each time over a new connection: the lines of the answers. */
export async function fetchMany(host: Host, url: string, count: number): Promise<readonly string[]> {
  const each = ['--header', 'Connection: close', '--write-out', '\\n'];
  const urls = Array.from({ length: count }, () => url);
  const { stdout } = await host.exec([...curl(5, ...each), ...urls], { timeoutMs: 120_000 });
  return stdout.trimEnd().split('\n');
}

function curl(timeoutSeconds: number, ...rest: readonly string[]): readonly string[] {
  const deadline = ['--connect-timeout', String(timeoutSeconds), '--max-time', String(timeoutSeconds + 5)];
  return ['curl', '--silent', '--show-error', '--globoff', ...deadline, ...rest];
}

/** The answers of the Pods of `web`. */
export const fromWeb: RegExp = /^web-n[12]$/;

/** `http://192.0.2.51:80/hostname`, `http://[2001:db8::51]:80/hostname`: returns the name of a Pod. */
export function urlOf(ip: string, port = 80, path = '/hostname'): string {
  return `http://${ip.includes(':') ? `[${ip}]` : ip}:${port}${path}`;
}

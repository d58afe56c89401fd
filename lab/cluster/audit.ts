import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { stringify } from 'yaml';

/** One request in the API server's audit log, at level Metadata (audit.k8s.io/v1). */
export type AuditEvent = {
  readonly stage: 'ResponseStarted' | 'ResponseComplete' | 'Panic';
  readonly verb: string;
  readonly user: { readonly username: string };
  readonly requestURI: string;
  readonly userAgent?: string;
  readonly objectRef?: {
    readonly apiGroup?: string;
    readonly resource?: string;
    readonly subresource?: string;
    readonly namespace?: string;
    readonly name?: string;
  };
  readonly responseStatus?: { readonly code: number };
  readonly requestReceivedTimestamp: string;
};

const logOf = (folder: string): string => path.join(folder, 'log', 'audit.jsonl');

/** Writes a policy that records the requests of `users` only; returns the API server's flags for it. */
export async function auditFlags(folder: string, users: readonly string[]): Promise<readonly string[]> {
  if (users.length === 0) return [];
  const file = path.join(folder, 'audit-policy.yaml');
  const policy = {
    apiVersion: 'audit.k8s.io/v1',
    kind: 'Policy',
    omitStages: ['RequestReceived'],
    rules: [{ level: 'Metadata', users }, { level: 'None' }],
  };
  await writeFile(file, stringify(policy));
  return [`--audit-policy-file=${file}`, `--audit-log-path=${logOf(folder)}`, '--audit-log-mode=blocking'];
}

/** All events so far; running requests (watches) have only their `ResponseStarted` stage. */
export async function readAuditLog(folder: string): Promise<readonly AuditEvent[]> {
  const text = await readFile(logOf(folder), 'utf8');
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as AuditEvent);
}

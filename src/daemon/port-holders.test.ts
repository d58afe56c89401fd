import { expect, test } from 'vitest';
import { execOf } from '../../test/make/exec.ts';
import { findPortHolders, holderWords } from './port-holders.ts';

test('a program of Node.js is named by its program, not by its thread', async () => {
  const exec = execOf(() => 'LISTEN 0 511 127.0.0.1:9470 0.0.0.0:* users:(("MainThread",pid=12,fd=18))\n');
  const [holders = []] = await findPortHolders('127.0.0.1', 9470, exec, new AbortController().signal);
  expect(holders.map(holderWords)).toEqual(['node (PID 12)']);
});

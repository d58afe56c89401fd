import type { TestProject } from 'vitest/node';
import { onInterrupt } from '../interrupt.ts';
import { removeLabsOfChildren, removeOrphans } from './orphans.ts';

/** These tests leave no trace on the machine, however they end; also removes the remains of a killed earlier run. */
export default async function setUp(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  if (process.getuid?.() !== 0) return undefined; // only root can have created anything
  await removeOrphans();
  onInterrupt(project, () => removeLabsOfChildren(0));
  return () => removeLabsOfChildren(10_000);
}

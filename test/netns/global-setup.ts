import type { TestProject } from 'vitest/node';
import { onInterrupt } from '../interrupt.ts';
import { removeLabsOfChildren, removeOrphans } from './orphans.ts';

/** Nothing of these tests stays on the machine, however they end; what an earlier run was killed over goes, too. */
export default async function setUp(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  if (process.getuid?.() !== 0) return undefined; // only root can have made anything
  await removeOrphans();
  onInterrupt(project, () => removeLabsOfChildren(0));
  return () => removeLabsOfChildren(10_000);
}

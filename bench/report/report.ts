export function report(): number {
  return 0;
}

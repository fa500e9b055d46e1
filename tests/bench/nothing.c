/* The unit that starting is measured in: a dynamic program that does nothing. */
int main(void) { return 0; }

/* A dynamic program that does nothing. Its start is the unit in which other starts are measured. */
int main(void) { return 0; }
